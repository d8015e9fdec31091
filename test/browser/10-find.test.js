import assert from 'node:assert/strict';
import { check, until } from './play.js';

// paste has a field get a text as from the clipboard.
const paste = (field, text) => field.evaluate((e, pasted) => {
  const data = new DataTransfer();
  data.setData('text/plain', pasted);
  e.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }));
}, text);

async function search(page, text, path) {
  await page.locator('[data-search]').fill(text);
  await Promise.all([page.waitForURL((url) => url.pathname === path, { timeout: 10_000 }), page.locator('[data-search]').press('Enter')]);
}

check('10 search: one thing is gone to, however it is written', async (on) => {
  await on.do('push', { updates: [{ waybill: '777005949070187', status: 'signed' }, { waybill: '777005949070187', status: 'question' }] });
  const { body: { events: [event] } } = await on.api('/events?waybill_code=777005949070187');
  const page = await on.open('/', { as: 'operator' });
  for (const [asked, path, within] of [
    ['777005949070187', '/waybill', '2 updates came'],
    ['　７７７００５９４９０７０１８７ ', '/waybill', '2 updates came'],
    ['777 0059 4907 0187', '/waybill', '2 updates came'],
    [event.id, '/event', '777005949070187'],
    [event.callback.id, '/events', event.callback.id],
    ['shop/orders', '/endpoints/shop/orders', 'shop/orders'],
    ['mail', '/endpoints/crm/mail', 'crm/mail'],
    ['crm', '/endpoints', 'crm/sync'],
  ]) {
    await page.goto(`${on.base('operator')}/help`);
    await search(page, asked, path);
    await page.locator('main', { hasText: within }).waitFor({ timeout: 10_000 });
  }
  assert.equal(await page.locator('[data-search]').inputValue(), '');
  await page.goto(`${on.base('operator')}/events?callback=${event.callback.id}`);
  assert.deepEqual(await page.locator('[data-event]').evaluateAll((rows) => rows.map((r) => r.dataset.event)), [event.id]);

  // A tenant finds nothing of another.
  const shop = await on.open('/', { as: 'shop' });
  await search(shop, 'crm/sync', '/console/waybill');
  assert.doesNotMatch(await shop.locator('main').innerText(), /open deliveries|RECEIVER|http/);
});

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
  assert.match(await said(page, 'Spool'), /^No callback waits for Redis/);
  assert.match(await said(page, 'Quarantine'), /^None of the latest 500/);
  assert.match(await said(page, 'Subscriptions'), /^No tenant has subscribed it/);
  assert.match(await said(page, 'Callbacks'), /^The latest came at/);
  assert.match(await page.locator('.so').innerText(), /Check that the number is right/);

  await page.goto(`${on.base('operator')}/waybill?code=4567890123456`);
  assert.match(await said(page, 'Quarantine'), /^1 callback with this code in quarantine/);
  assert.match(await page.locator('.so').innerText(), /take it in again/);
  await page.locator('.nothing a[href*="quarantine"]').click();
  await page.locator('main', { hasText: 'note' }).waitFor();

  // A tenant is told of its own alone.
  const shop = await on.open('/waybill?code=4567890123456', { as: 'shop' });
  assert.deepEqual(await places(shop), ['Subscriptions', 'Before']);
  assert.match(await shop.locator('.so').innerText(), /Subscribe it/);
});

check('10 search: a waybill that came says who does not get it and why, and what of it was not understood', async (on) => {
  const code = '6200000000417';
  const page = await on.open('/', { as: 'operator' });
  const open = () => page.goto(`${on.base('operator')}/waybill?code=${code}`);
  await on.do('push', { updates: [{ waybill: code, status: 'collected' }] });
  await open();
  assert.match(await page.locator('#verdict').innerText(), /1 update came/);
  assert.match(await page.locator('#why').innerText(), /others do not get[^]*crm\/sync: status "collected" is not signed/);
  assert.equal(await page.locator('#misread').count(), 0);

  await on.do('push', { bodies: [`{"type":"express_sub_msg","data":"{\\"waybill_code\\":\\"${code}\\",\\"data\\":[{]}"}`] });
  await open();
  assert.match(await page.locator('#misread').innerText(), /^1 callback with this code in quarantine/);

  const shop = await on.open(`/waybill?code=${code}`, { as: 'shop' });
  await shop.locator('#verdict').waitFor();
  assert.equal(await shop.locator('#misread').count(), 0, 'a tenant is not told of quarantine');
  assert.doesNotMatch(await shop.locator('main').innerText(), /crm/);
});

check('10 search: what is subscribed and has not come', async (on) => {
  await on.newStage({ relays: 1 });
  await on.do('provider');
  const subscribed = await on.api('/subscriptions', {
    as: 'shop', method: 'POST', body: { cp_code: 'zt', waybill_codes: ['SUBSCRIBED01', 'KEPT0000001'] },
  });
  assert.ok(subscribed.status < 300, JSON.stringify(subscribed.body));
  const page = await on.open('/waybill?code=SUBSCRIBED01', { as: 'operator' });
  await until('kuaidihelp has taken it', async () => {
    await page.reload();
    return /shop subscribed it as zt .* live/.test(await said(page, 'Subscriptions'));
  });
  assert.match(await page.locator('.so').innerText(), /no update has come yet/);
});

check('10 search: what is no longer kept is said to have been there', async (on) => {
  await on.newStage({
    relays: 1,
    tenants: `
retention: 1s
delivery: {max_age: 100s}
tenants:
  - name: shop
    api_keys: [shop-key-of-the-stage]
    endpoints:
      - {name: orders, url: 'RECEIVER/orders', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1s]}
    routes: [{to: orders}]
  - name: crm
    api_keys: [crm-key-of-the-stage]
`,
  });
  await on.do('push', { updates: [{ waybill: 'EXPIRED0001', status: 'signed' }] });
  await until('its event is not kept any more', async () => {
    const { body } = await on.api('/waybills/EXPIRED0001');
    return body.verdict?.code === 'expired' && !body.events?.length;
  });

  const page = await on.open('/', { as: 'operator' });
  await search(page, 'EXPIRED0001', '/waybill');
  assert.deepEqual(await places(page), ['Spool', 'Quarantine', 'Subscriptions', 'Before', 'Callbacks']);
  assert.match(await said(page, 'Before'), /was accepted .*\d\d:\d\d:\d\d.*signed/);
  assert.match(await page.locator('.so').innerText(), /Its events are no longer kept: Nothing is wrong/);

  // Of several lines it has a verdict of its own, too.
  await page.goto(`${on.base('operator')}/find?q=${encodeURIComponent('EXPIRED0001\nNEVER00001')}`);
  const rows = page.locator('#rows > tr');
  assert.match(await rows.nth(0).innerText(), /Its events are no longer kept/);
  assert.match(await rows.nth(1).innerText(), /Nobody has subscribed it/);
});

check('10 search: what waits in the spool is found there, and goes on by itself', async (on) => {
  await on.newStage({ relays: 1 });
  on.allow(/answers 50\d/);
  const page = await on.open('/waybill?code=SPOOLED0001', { as: 'operator' });
  await on.do('redis', { do: 'stop' });
  const [answer] = await on.do('push', { updates: [{ waybill: 'SPOOLED0001', status: 'signed' }] });
  assert.equal(answer.status, 200);
  await until('the page says that it is in the spool', async () => {
    await page.goto(`${on.base('operator')}/waybill?code=SPOOLED0001`);
    return /callbacks that wait for Redis may hold it/.test(await page.locator('main').innerText());
  });
  await on.do('redis', { do: 'start' });
  await page.locator('[data-event]').waitFor(); // by itself
});
