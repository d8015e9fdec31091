import assert from 'node:assert/strict';
import { check, until } from './play.js';

// eventPage opens the page of an event, at a URL of the operator's pages.
async function eventPage(on, base) {
  await on.do('push', { updates: [{ waybill: '777000111' }] });
  const { body } = await on.api('/events');
  const context = await on.context();
  on.origin(base);
  await context.addCookies([await on.stage.session('operator', base)]);
  const page = await context.newPage();
  await page.goto(`${base}/event?id=${body.events[0].id}`);
  return { page, context, id: body.events[0].id };
}

// pasted is what the clipboard has, as a person finds out.
async function pasted(page) {
  const search = page.locator('[data-search]'); // the one in the head of the page
  await search.fill('');
  await search.focus();
  await page.keyboard.press('Control+V');
  return search.inputValue();
}

const said = (page) => page.locator('[data-say]').innerText();

for (const [where, baseOf] of [
  ['https', (on) => on.relays[0].tls.operator],
  ['plain HTTP on this machine', (on) => on.relays[0].operator],
  [
    'plain HTTP under a name, where there is no clipboard',
    (on) => on.relays[0].operator.replace('127.0.0.1', 'insecure.test'),
  ],
]) {
  check(`20 copy: over ${where}`, async (on) => {
    const { page, id } = await eventPage(on, baseOf(on));
    const button = page.locator(`[data-copy="${id}"]`).first();
    await button.click();
    await until('it says so', async () => (await said(page)) === 'Copied');
    assert.equal(await pasted(page), id);
  });
}

check('20 copy: in a dialog', async (on) => {
  for (const base of [on.relays[0].operator, on.relays[0].operator.replace('127.0.0.1', 'insecure.test')]) {
    const { page, id } = await eventPage(on, base);
    const copied = `${id}-in-a-dialog`;
    await page.evaluate((text) => {
      const dialog = document.createElement('dialog');
      const button = document.createElement('button');
      button.dataset.copy = text;
      button.append('copy', document.createElement('span'));
      dialog.append(button);
      document.body.append(dialog);
      dialog.showModal();
    }, copied);
    await page.locator('dialog [data-copy]').click();
    await until('it says so', async () => (await said(page)) === 'Copied');
    assert.equal(await page.locator('dialog textarea').count(), 0, 'nothing is left behind');
    await page.keyboard.press('Escape');
    assert.equal(await pasted(page), copied);
  }
});

check('20 copy: where it is denied, it says that it failed', async (on) => {
  for (const base of [on.relays[0].tls.operator, on.relays[0].operator.replace('127.0.0.1', 'insecure.test')]) {
    const { page, id } = await eventPage(on, base);
    await page.evaluate(() => {
      const refuse = () => Promise.reject(new DOMException('denied', 'NotAllowedError'));
      if (navigator.clipboard) navigator.clipboard.writeText = refuse;
      document.execCommand = () => false;
    });
    await page.locator(`[data-copy="${id}"]`).first().click();
    await until('it says so', async () => /could not copy/i.test(await said(page)));
  }
});
