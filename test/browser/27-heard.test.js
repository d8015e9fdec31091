// The pages as a screen reader tells them.
import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';
import { none, seed, tenants, visitAll } from './looks.js';

stage({ tenants });

// silent tells what of a page would not be heard, or not be understood.
const silent = () => {
  const bad = [];
  const of = (e) => e.outerHTML.replace(/\s+/g, ' ').slice(0, 100);
  const h1 = document.querySelectorAll('h1').length;
  if (h1 !== 1) bad.push(`${h1} h1`);
  for (const t of document.querySelectorAll('table')) {
    if (!t.caption?.textContent.trim()) bad.push(`a table without a caption: ${of(t)}`);
    for (const th of t.querySelectorAll('th')) if (!th.scope) bad.push(`a th without a scope: ${of(th)}`);
    for (const th of t.querySelectorAll('thead th')) {
      if (!th.textContent.trim()) bad.push(`a column without a name: ${of(t)}`);
    }
  }
  for (const s of document.querySelectorAll('.state')) {
    if (!/[\p{L}]{2}/u.test(s.textContent)) bad.push(`a state without a word: ${of(s)}`);
  }
  for (const s of document.querySelectorAll('.sign')) {
    const word = s.role === 'img' && /[\p{L}]{2}/u.test(s.ariaLabel);
    if (s.ariaHidden !== 'true' && !word) bad.push(`a sign is read out: ${of(s)}`);
  }
  for (const s of document.querySelectorAll('svg')) {
    if (s.getAttribute('aria-hidden') === 'true') continue;
    if (!s.getAttribute('aria-label') || !s.querySelector('title')) bad.push(`a drawing without words: ${of(s)}`);
    const figure = s.closest('figure');
    if (figure && !figure.querySelector('table')) bad.push(`a chart without its numbers: ${of(figure)}`);
  }
  return bad;
};

check('27 heard: titles differ, tables have captions and scopes, states have words', async (on) => {
  const titles = new Map();
  const wrong = {};
  await visitAll(on, 'operator', {}, async (page, name) => {
    const title = await page.title();
    const of = await page.evaluate(silent);
    // The same page, filtered or filled in.
    if (titles.has(title) && !['filtered', 'tested'].includes(name)) of.push(`${title} is ${titles.get(title)}, too`);
    titles.set(title, name);
    if (of.length) wrong[name] = of;
  });
  none(wrong);
});

check('27 heard: new events are told once, politely, as a number', async (on) => {
  await seed(on);
  const page = await on.open('/events', { as: 'operator' });
  const say = page.locator('[data-say]');
  assert.equal(await say.getAttribute('aria-live'), 'polite');
  assert.equal(await page.locator('tbody[aria-live], table [aria-live], tbody[role=status]').count(), 0);
  // told notes what is said from now on.
  await say.evaluate((e) => {
    window.told = [];
    new MutationObserver(() => window.told.push(e.textContent)).observe(e, { childList: true });
  });
  const updates = [1, 2, 3].map((n) => ({ waybill: `88800000000${n}`, status: 'collected' }));
  await on.do('push', { updates, Together: true });
  await page.locator('[data-event]', { hasText: '888000000003' }).waitFor();
  await until('it is told', async () => (await page.evaluate(() => window.told)).length > 0);
  assert.deepEqual(await page.evaluate(() => window.told), ['3 new']);
});

check('27 heard: what a form did, and what went wrong, is told', async (on) => {
  const ids = await seed(on);
  const page = await on.open('/endpoints/shop/nightly', { as: 'operator' });
  await page.locator('form[action$="/pause"] button').click();
  assert.match(await page.locator('[role=status].note').innerText(), /is paused/);
  await page.goto(`${on.base('operator')}/event?id=${ids.event}`);
  await page.locator('button.copy:visible').first().click();
  await until('it is told', async () => (await page.locator('[data-say]').innerText()) === 'Copied');

  const login = await on.open('/login');
  await login.locator('input[name=key]').fill('wrong');
  await login.locator('main form button').click();
  await login.locator('[role=alert]').waitFor();
  const field = login.locator('input[name=key]');
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  const why = await field.getAttribute('aria-describedby');
  assert.match(await login.locator(`#${why}`).innerText(), /not the operator/);
});
