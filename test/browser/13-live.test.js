import assert from 'node:assert/strict';
import { check, until } from './play.js';

let pushed = 0;

// more pushes so many new events, and gives their waybills.
async function more(on, count = 1) {
  const updates = Array.from({ length: count }, () => ({ waybill: `7770${String(++pushed).padStart(6, '0')}` }));
  await on.do('push', { updates });
  return updates.map((u) => u.waybill);
}

const row = (page, waybill) => page.locator('[data-event]', { hasText: waybill });

// parts counts the requests that a page makes by itself.
function parts(page) {
  const count = { asked: 0, answered: 0 };
  page.on('request', (r) => {
    if (r.url().includes('part=')) count.asked++;
  });
  page.on('response', (r) => {
    if (r.url().includes('part=')) count.answered++;
  });
  return count;
}

// rounds waits until a page has asked so many times more, and has had time to show the answer.
async function rounds(page, count, times = 2) {
  const from = count.answered;
  await until('the page asks again', () => count.answered >= from + times);
  await page.evaluate(
    () =>
      new Promise((done) => {
        requestAnimationFrame(() => setTimeout(done));
      }),
  );
}

check('13 live: a new event appears by itself, and a reader who is at the top sees it', async (on) => {
  await more(on);
  const page = await on.open('/events', { as: 'operator' });
  const [waybill] = await more(on);
  await row(page, waybill).waitFor();
  assert.equal(await row(page, waybill).count(), 1);
  assert.equal(
    await page.locator('[data-event]').first().innerText(),
    await row(page, waybill).innerText(),
    'it is the first',
  );

  // Its state follows.
  await on.do('answer', { endpoint: 'orders', status: 503 });
  const [slow] = await more(on);
  await row(page, slow).getByText('503').waitFor();
  await on.do('answer', { endpoint: 'orders' });
  await row(page, slow).getByText('✓').waitFor({ timeout: 60_000 });
});

check('13 live: scrolling, hovering, focus and selected text keep rows still', async (on) => {
  await more(on, 60);
  const page = await on.open('/events', { as: 'operator', viewport: { width: 1280, height: 400 } });
  const count = parts(page);
  await page.locator('[data-event]').nth(40).scrollIntoViewIfNeeded();
  await page.mouse.move(2, 2);
  const at = await page.evaluate(() => scrollY);
  assert.ok(at > 500);
  const [late] = await more(on);
  const kept = page.locator('main button', { hasText: /\b1\b.*↑/ });
  await kept.waitFor();
  await rounds(page, count);
  assert.equal(await page.evaluate(() => scrollY), at, 'the page stays where it is');
  assert.equal(await row(page, late).count(), 0, 'the new row is kept back');
  await kept.click();
  await row(page, late).waitFor();
  assert.equal(await page.evaluate(() => scrollY), 0);

  // Under the pointer.
  await page.locator('[data-event]').nth(2).hover();
  const [hovered] = await more(on);
  await kept.waitFor();
  assert.equal(await row(page, hovered).count(), 0, 'nothing moves under the pointer');
  await page.mouse.move(2, 2);
  await row(page, hovered).waitFor();

  // With a link in focus, and a text selected.
  const link = page.locator('[data-event] a').nth(3);
  await link.focus();
  const href = await link.getAttribute('href');
  const [focused] = await more(on);
  await row(page, focused).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('href')), href, 'the focus stays');
  await page.evaluate(() => document.activeElement.blur());
  const selected = await page
    .locator('[data-event] bdi.code')
    .nth(5)
    .evaluate((e) => {
      getSelection().selectAllChildren(e);
      return getSelection().toString();
    });
  const [later] = await more(on);
  await row(page, later).waitFor();
  assert.equal(await page.evaluate(() => getSelection().toString()), selected, 'the selection stays');
});

check('13 live: what is open stays open while a page changes', async (on) => {
  await on.do('answer', { endpoint: 'orders', status: 500, body: 'first answer' });
  const [waybill] = await more(on);
  const { body } = await until('it was tried', async () => {
    const got = await on.api(`/events?waybill_code=${waybill}`);
    return got.body.events[0]?.deliveries?.some((d) => d.attempts > 0) && got;
  });
  const page = await on.open(`/event?id=${body.events[0].id}`, { as: 'operator' });
  const count = parts(page);
  const details = page.locator('main details').first();
  await details.locator('summary').click();
  assert.ok(await details.evaluate((d) => d.open));
  await page.evaluate(() => document.activeElement.blur());
  const attempts = page.locator('ol.scale > li');
  const had = await attempts.count();
  assert.ok(had > 0, `${had} attempts are shown`);
  await page.locator('form[action$="/retry"] button').first().waitFor();
  await on.do('answer', { endpoint: 'orders', status: 502, body: 'second answer' });
  // On a slow machine the quick attempts are over by now, and the next one is an hour away.
  await on.api('/endpoints/shop/orders/retry', { method: 'POST', body: { all: true } });
  await until('there are more attempts', async () => (await attempts.count()) > had, 60_000);
  assert.ok(
    await page
      .locator('main details')
      .first()
      .evaluate((d) => d.open),
    'it is still open',
  );
  await rounds(page, count, 1);
  await on.do('answer', { endpoint: 'orders' });
});

check('13 live: a pause is a pause, and a hidden tab asks nothing', async (on) => {
  await more(on);
  const context = await on.context({ as: 'operator' });
  const page = await context.newPage();
  await page.clock.install();
  await page.goto(`${on.base('operator')}/events`);
  const count = parts(page);
  const button = page.locator('[data-pause]');
  await button.waitFor();
  await until('it asks', async () => {
    await page.clock.runFor(1000);
    return count.answered > 0;
  });

  await button.click();
  assert.equal(await button.getAttribute('aria-pressed'), 'true');
  await until('what was under way is over', () => count.asked === count.answered);
  const paused = count.asked;
  const [waybill] = await more(on);
  await page.clock.runFor(600_000);
  assert.equal(count.asked, paused, 'paused');
  assert.equal(await row(page, waybill).count(), 0);
  await button.click();
  await until('it goes on', async () => {
    await page.clock.runFor(1000);
    return count.answered > paused;
  });
  await row(page, waybill).waitFor();

  const hide = (hidden) =>
    page.evaluate((is) => {
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => is });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await hide(true);
  await until('what was under way is over', () => count.asked === count.answered);
  await page.clock.runFor(60_000);
  await until('what was under way is over', () => count.asked === count.answered);
  const hidden = count.asked;
  await page.clock.runFor(600_000);
  assert.equal(count.asked, hidden, 'hidden');
  await hide(false);
  await until('it goes on', async () => {
    await page.clock.runFor(100);
    return count.answered > hidden;
  });
});

check('13 live: a page that is not there asks for nothing', async (on) => {
  const page = await (await on.context({ as: 'operator' })).newPage();
  await page.clock.install();
  for (const path of ['/event?id=evt_none', '/not-there', '/endpoints/shop/none']) {
    const count = parts(page);
    assert.equal((await page.goto(on.base('operator') + path)).status(), 404, path);
    await page.clock.runFor(120_000);
    assert.equal(count.asked, 0, path);
    assert.ok(await page.locator('[data-pause]').isHidden(), `${path} is not called live`);
  }
});

check('13 live: ten tabs of a tenant are all usable, within its limits', async (on) => {
  await on.newStage();
  await on.do('config', { replace: ['reads: 100000', 'reads: 20'] });
  await more(on);
  const context = await on.context({ as: 'shop' });
  const paths = [
    '/events',
    '/',
    '/endpoints',
    '/dead-letters',
    '/replays',
    '/events',
    '/endpoints/shop/orders',
    '/config',
    '/events',
    '/help',
  ];
  const tabs = [];
  for (const path of paths) {
    const page = await context.newPage();
    const answer = await page.goto(on.base('shop') + path);
    assert.equal(answer.status(), 200, path);
    tabs.push(page);
  }
  const [waybill] = await more(on);
  for (const [i, path] of paths.entries()) if (path === '/events') await row(tabs[i], waybill).waitFor();
  for (const page of tabs) {
    const answer = await page.reload();
    assert.equal(answer.status(), 200, page.url());
  }
});
