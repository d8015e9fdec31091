// The pages without a mouse.
import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';
import { seed, tenants } from './looks.js';

stage({ tenants });

// focused is what has the focus.
const focused = (page) =>
  page.evaluate(() => {
    const e = document.activeElement;
    return { tag: e.tagName, text: e.textContent.trim(), name: e.name ?? '', id: e.id };
  });

const isFocused = (locator) => locator.evaluate((e) => e === document.activeElement);

// tabTo presses Tab until something has the focus, and says where it came by without a visible focus.
async function tabTo(page, locator) {
  const unseen = [];
  for (let i = 0; i < 150; i++) {
    await page.keyboard.press('Tab');
    const bad = await page.evaluate(() => {
      const e = document.activeElement;
      const box = e.getBoundingClientRect();
      const ring = getComputedStyle(e).outlineStyle !== 'none' && parseFloat(getComputedStyle(e).outlineWidth) >= 2;
      const inSight = box.width > 0 && box.bottom > 0 && box.top < innerHeight;
      return e === document.body || (ring && inSight) ? '' : e.outerHTML.slice(0, 120);
    });
    if (bad) unseen.push(bad);
    if (await isFocused(locator)) {
      assert.deepEqual(unseen, [], 'the focus is not seen');
      return;
    }
  }
  assert.fail(`Tab does not reach ${locator}`);
}

check('24 keyboard: log in, skip to the content, find a parcel, send it again', async (on) => {
  const ids = await seed(on);
  const page = await on.open('/login?next=%2Fhelp');
  assert.equal((await focused(page)).name, 'key');
  await page.keyboard.type(on.keys.operator);
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/help$/);

  await page.keyboard.press('Tab');
  const skip = page.locator('a.skip');
  assert.ok(await isFocused(skip));
  assert.ok(await skip.evaluate((e) => e.getBoundingClientRect().left >= 0), 'the skip link is seen');
  await page.keyboard.press('Enter');
  assert.equal((await focused(page)).id, 'main');

  await page.keyboard.press('/');
  assert.equal((await focused(page)).name, 'q');
  await page.keyboard.type(ids.event);
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/event\?/);
  const had = (await on.do('got', { endpoint: 'signed' })).length;
  await tabTo(page, page.locator('form[action$="/dead-letters/redrive"] button'));
  await page.keyboard.press('Enter');
  await page.locator('.note[role=status]').waitFor();
  await until('it is sent again', async () => (await on.do('got', { endpoint: 'signed' })).length > had);
});

check('24 keyboard: a dialog is opened, used and closed, and the focus returns', async (on) => {
  await seed(on);
  const page = await on.open('/endpoints/shop/orders', { as: 'operator' });
  const link = page.locator('a[data-dialog][href$="/test"]');
  await tabTo(page, link);
  await page.keyboard.press('Enter');
  const dialog = page.locator('dialog[open]');
  await dialog.waitFor();
  for (let i = 0; i < 8; i++) {
    await page.keyboard.press('Tab');
    const inside = () => document.activeElement === document.body || document.activeElement.closest('dialog') !== null;
    assert.ok(await page.evaluate(inside), 'the focus stays in the dialog');
  }
  await dialog.locator('button.main').focus();
  await page.keyboard.press('Enter');
  await dialog.locator('[data-test-result]').waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await until('the focus returns', () => isFocused(link));
});

check('24 keyboard: g and a letter go to a page, ? to the help, j and k along rows', async (on) => {
  await seed(on);
  const page = await on.open('/', { as: 'operator' });
  const pages = { e: 'events', p: 'endpoints', d: 'dead-letters', r: 'replays', q: 'quarantine', s: 'subscriptions' };
  for (const [key, path] of Object.entries({ ...pages, t: 'routes', c: 'config', y: 'system', o: '' })) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await page.waitForURL((u) => u.pathname === `/${path}`);
  }
  await page.goto(`${on.base('operator')}/events`);
  const row = () => page.evaluate(() => document.activeElement.closest('tr')?.id);
  await page.keyboard.press('j');
  const first = await row();
  await page.keyboard.press('j');
  const second = await row();
  assert.ok(first && second && first !== second);
  await page.keyboard.press('k');
  assert.equal(await row(), first);
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/event\?/);
  await page.keyboard.press('Shift+?');
  await page.waitForURL(/\/help$/);
});

check('24 keyboard: keys do nothing in a field, and can be turned off', async (on) => {
  const page = await on.open('/help', { as: 'operator' });
  await page.locator('[data-search]').focus();
  await page.keyboard.type('ge?');
  assert.equal(await page.locator('[data-search]').inputValue(), 'ge?');
  assert.match(page.url(), /\/help$/);
  await page.locator('[data-keys]').uncheck();
  await page.goto(`${on.base('operator')}/events`);
  await page.locator('main').focus();
  for (const key of ['/', 'g', 'o', 'Shift+?']) await page.keyboard.press(key);
  assert.notEqual((await focused(page)).name, 'q');
  assert.match(page.url(), /\/events$/);
});

check('24 keyboard: a menu closes by Escape, and the focus returns', async (on) => {
  await seed(on);
  const page = await on.open('/', { as: 'operator' });
  const summary = page.locator('header details.settings > summary');
  await summary.focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  assert.ok(!(await isFocused(summary)));
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('header details[open]').count(), 0);
  assert.ok(await isFocused(summary));
});
