// The pages without JavaScript.
import assert from 'node:assert/strict';
import { check, logIn, stage, until } from './play.js';
import { seed, tenants } from './looks.js';

stage({ tenants });

// open gives a page without JavaScript of the operator, who has to log in, at a path.
async function open(on, path) {
  const context = await on.context({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(on.base('operator') + path);
  await logIn(page, on.keys.operator);
  await page.waitForURL((u) => u.pathname + u.search === path);
  return page;
}

check('26 without scripts: log in, filter, page on, read an event', async (on) => {
  const ids = await seed(on);
  const updates = Array.from({ length: 10 }, (_, i) => ({ waybill: `66600000000${i}`, status: 'collected' }));
  await on.do('push', { updates });
  const page = await open(on, '/events?limit=20');
  const rows = page.locator('tbody [data-event], tbody tr[data-event]');
  assert.equal(await rows.count(), 20);
  const first = await rows.first().getAttribute('data-event');
  await page.locator('a[rel=next]').first().click();
  await page.waitForURL(/cursor=/);
  assert.ok((await rows.count()) >= 1);
  assert.notEqual(await rows.first().getAttribute('data-event'), first);

  await page.goto(`${on.base('operator')}/events`);
  await page.locator('.pick:has(input[name=status]) summary').click();
  await page.locator('input[name=status][value=signed]').check();
  await page.locator('.pick:has(input[name=status]) button').click();
  await page.waitForURL(/status=signed/);
  const { body } = await on.api('/events?status=signed');
  assert.deepEqual(
    await rows.evaluateAll((all) => all.map((r) => r.dataset.event)),
    body.events.map((e) => e.id),
  );

  await page.goto(`${on.base('operator')}/event?id=${ids.event}`);
  assert.match(await page.locator('main h1').innerText(), new RegExp(ids.waybill));
  assert.match(await page.locator('#data').innerText(), /"waybill_code"/);
});

check('26 without scripts: pause and resume, send one again, choose language and colours', async (on) => {
  const ids = await seed(on);
  const page = await open(on, '/endpoints/shop/nightly');
  const state = async () => (await on.api('/endpoints/shop/nightly')).body.state;
  await page.locator('form[action$="/pause"] button').click();
  await page.locator('.note.good').waitFor();
  assert.equal(await state(), 'paused');
  await page.locator('form[action$="/resume"] button, a[href$="/resume"]').first().click();
  const sure = page.locator('form[action$="/resume"] button');
  if (await sure.count()) await sure.click();
  assert.notEqual(await state(), 'paused');

  await page.goto(`${on.base('operator')}/dead-letters`);
  const had = (await on.do('got', { endpoint: 'signed' })).length;
  await page.locator(`tr[data-event="${ids.event}"] form[action$="/redrive"] button`).first().click();
  await until('it is sent again', async () => (await on.do('got', { endpoint: 'signed' })).length > had);

  await page.locator('a.tool[hreflang="zh-CN"]').click();
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
  await page.locator('header .menu:has(a[href*="colors=dark"]) summary').first().click();
  await page.locator('a[href*="colors=dark"]:visible').first().click();
  assert.equal(await page.locator('html').getAttribute('data-colors'), 'dark');
});

check('26 without scripts: nothing is shown that does nothing', async (on) => {
  await seed(on);
  const page = await open(on, '/events');
  for (const path of ['/events', '/endpoints', '/dead-letters', '/endpoints/shop/orders', '/help']) {
    await page.goto(on.base('operator') + path);
    // Buttons of scripts are hidden until one shows them.
    const idle = page.locator('button[type=button]:visible:not([popovertarget])');
    assert.deepEqual(await idle.evaluateAll((all) => all.map((b) => b.outerHTML)), [], path);
  }
});
