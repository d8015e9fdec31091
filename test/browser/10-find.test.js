import assert from 'node:assert/strict';
import { check } from './play.js';

// paste has a field get a text as from the clipboard.
const paste = (field, text) => field.evaluate((e, pasted) => {
  const data = new DataTransfer();
  data.setData('text/plain', pasted);
  e.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
}, text);

check('10 search: a hundred pasted lines get a verdict each', async (on) => {
  await on.do('push', { updates: [{ waybill: 'PASTED001', status: 'signed' }] });
  const lines = ['ＰＡＳＴＥＤ００１', ...Array.from({ length: 98 }, (_, i) => `NOTHERE${100 + i}`), 'shop/orders'];
  const page = await on.open('/', { as: 'operator' });
  await paste(page.locator('[data-search]'), lines.join('\r\n'));
  await page.waitForURL(/\/find\?/);
  const rows = page.locator('#rows > tr');
  assert.equal(await rows.count(), 100);
  assert.match(await rows.nth(0).innerText(), /PASTED001[^]*waybill[^]*delivered/i);
  assert.match(await rows.nth(1).innerText(), /NOTHERE100[^]*Nobody has subscribed it/);
  assert.match(await rows.nth(99).innerText(), /endpoint[^]*ok/);
  await rows.nth(0).locator('a').click();
  await page.waitForURL(/\/waybill\?code=PASTED001/);

  await page.goto(`${on.base('operator')}/find`);
  await page.locator('textarea').fill(Array.from({ length: 101 }, (_, i) => `L${i}`).join('\n'));
  await page.locator('form.find button').click();
  await page.locator('main', { hasText: 'at most 100' }).waitFor();
});

const places = (page) => page.locator('.nothing dt').allInnerTexts();
const said = (page, place) => page.locator(`.nothing dt:text-is("${place}") + dd`).innerText();

check('10 search: nothing found says where it was looked for', async (on) => {
  // One is known to nobody, one is in a callback that was not understood.
  await on.do('push', { bodies: ['{"type":"express_sub_msg","data":[{"cp_code":"zt","note":"4567890123456"}]}'] });
  const page = await on.open('/waybill?code=999888777666', { as: 'operator' });
  assert.deepEqual(await places(page), ['Spool', 'Quarantine', 'Subscriptions', 'Before', 'Callbacks']);
  assert.match(await said(page, 'Spool'), /^Not among the 0 callbacks/);
  assert.match(await said(page, 'Quarantine'), /^None of the latest 500/);
  assert.match(await said(page, 'Subscriptions'), /^No tenant has subscribed it/);
  assert.match(await said(page, 'Callbacks'), /^The latest came at/);
  assert.match(await page.locator('.so').innerText(), /See whether the number is right/);

  await page.goto(`${on.base('operator')}/waybill?code=4567890123456`);
  assert.match(await said(page, 'Quarantine'), /^1 callbacks that name it/);
  assert.match(await page.locator('.so').innerText(), /take it in again/);
  await page.locator('.nothing a[href*="quarantine"]').click();
  await page.locator('main', { hasText: 'note' }).waitFor();

  // A tenant is told of its own alone.
  const shop = await on.open('/waybill?code=4567890123456', { as: 'shop' });
  assert.deepEqual(await places(shop), ['Subscriptions', 'Before']);
  assert.match(await shop.locator('.so').innerText(), /Subscribe it/);
});
