import assert from 'node:assert/strict';
import { check, logIn, until } from './play.js';

const isIn = async (page, base) => {
  await page.goto(`${base}/help`);
  return !page.url().includes('/login');
};

check('03 session: it works at the second relay', async (on) => {
  for (const as of ['operator', 'shop']) {
    const page = await on.open('/', { as });
    for (const relay of [0, 1]) assert.ok(await isIn(page, on.base(as, relay)), `${as} at relay ${relay}`);
  }
});

check('03 session: it ends when its key leaves the config, and those of others go on', async (on) => {
  await on.newStage();
  const pages = {};
  for (const as of ['operator', 'shop', 'crm']) pages[as] = await on.open('/', { as });
  await on.do('config', { replace: [on.keys.shop, 'another-key-of-shop'] });
  assert.ok(!(await isIn(pages.shop, on.base('shop'))), 'shop is out');
  assert.ok(!(await isIn(pages.shop, on.base('shop', 1))), 'shop is out at the second relay');
  assert.ok(await isIn(pages.crm, on.base('crm')), 'crm goes on');
  assert.ok(await isIn(pages.operator, on.base('operator')), 'the operator goes on');
});

check('03 session: an open page whose session has ended asks for the key', async (on) => {
  await on.newStage();
  on.allow(/part=main.* answers 401/);
  const page = await on.open('/events', { as: 'shop' });
  await page.locator('[data-pause]:not([hidden])').waitFor();
  await on.do('config', { replace: [on.keys.shop, 'another-key-of-shop'] });
  await page.waitForURL(/\/login\?next=.*events/);
  assert.match(await page.locator('.note.bad').innerText(), /session has ended/);
});

check('03 session: an act after it has ended is not done, which the login says before it goes back', async (on) => {
  const page = await on.open('/endpoints/shop/orders', { as: 'operator' });
  await page.context().clearCookies({ name: /kuairelay-operator/ });
  await page.locator('form[action$="/pause"] button').click();
  assert.match(await page.locator('.note.bad').innerText(), /nothing was done/);
  await logIn(page, on.keys.operator);
  await page.waitForURL(/\/endpoints\/shop\/orders$/);
  assert.equal(await page.locator('form[action$="/pause"]').count(), 1, 'it is not paused');
});

check('03 session: it ends at the logout', async (on) => {
  for (const as of ['operator', 'shop']) {
    const page = await on.open('/help', { as });
    await page.locator('details.settings summary').click();
    await page.locator('form[action$="/logout"] button').click();
    await page.waitForURL(/\/login$/);
    assert.equal(
      (await page.context().cookies()).filter((c) => /kuairelay-(operator|tenant)/.test(c.name)).length,
      0,
    );
    assert.ok(!(await isIn(page, on.base(as))));
    await page.goBack();
    assert.equal(await page.locator('[data-event], nav a').count(), 0, 'going back shows nothing');
  }
});

check('03 session: it ends after its time', async (on) => {
  await on.newStage();
  const [operator, shop] = [await on.open('/', { as: 'operator' }), await on.open('/', { as: 'shop' })];
  const later = async (minutes) => {
    await on.do('clock', { minutes });
    return [await isIn(operator, on.base('operator')), await isIn(shop, on.base('shop'))];
  };
  assert.deepEqual(await later(110), [true, true], 'under two hours, and with that renewed');
  assert.deepEqual(await later(110), [true, true], 'renewed');
  assert.deepEqual(await later(121), [false, true], 'the operator was away for two hours');
  assert.deepEqual(await later(12 * 60 - 342), [false, true], 'shop has a minute left');
  assert.deepEqual(await later(2), [false, false], 'twelve hours are over');
  await until('the relays still answer', async () => (await fetch(`${on.relays[0].operator}/readyz`)).ok);
});
