import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';

// What fills the list matches no route; all else goes to shop, and what is signed to crm.
stage({
  relays: 1,
  tenants: `
tenants:
  - name: shop
    api_keys: [{key: shop-key-of-the-stage, name: backend}]
    endpoints:
      - {name: orders, url: 'RECEIVER/orders', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1h]}
      - {name: strict, url: 'RECEIVER/strict', secrets: [whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1h]}
    routes:
      - {to: [orders, strict], match: {cp_code: [zt, sto]}}
  - name: crm
    api_keys: [crm-key-of-the-stage]
    endpoints:
      - {name: sync, url: 'RECEIVER/sync', secrets: [whsec_PfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
    routes:
      - {to: sync, match: {status: signed, cp_code: [zt, sto]}}
`,
});

const ids = (page) => page.locator('[data-event]').evaluateAll((rows) => rows.map((r) => r.dataset.event));
const inApi = async (on, query, as = 'operator') => (
  await on.api(`/events?limit=50&${query}`, { as })).body.events.map((e) => e.id);

async function seed(on) {
  await on.do('answer', { endpoint: 'strict', status: 503 });
  const updates = [];
  for (const brand of ['zt', 'sto', 'yd']) {
    for (const status of ['collected', 'sending', 'question', 'signed']) {
      for (const n of [1, 2, 3]) updates.push({ waybill: `SEED${brand}${n}`, brand, status });
    }
  }
  await on.do('push', { updates });
  await until('all is settled', async () => {
    const { body } = await on.api('/events?limit=50&state=queued,sending');
    return body.events.length === 0;
  });
}

check('11 events: every filter, alone and with others, gives what the API gives', async (on) => {
  await seed(on);
  const { body: { events } } = await on.api('/events?limit=50');
  assert.equal(events.length, 36);
  const middle = events[18].accepted_at;
  const page = await on.open('/events', { as: 'operator' });
  for (const [query, atLeast] of [
    ['status=signed', 9], ['status=signed,question', 18], ['brand=sto', 12], ['brand=sto,yd', 24], ['tenant=crm', 6],
    ['endpoint=shop/strict', 24], ['state=delivered', 24], ['state=retrying', 6], ['state=unrouted', 12],
    ['state=retrying,waiting', 24], ['waybill_code=SEEDzt2', 4], ['since=1h', 36],
    [`since=${middle}`, 12], [`until=${middle}`, 12], // events of one millisecond are all on one side
    ['status=signed&brand=zt,sto&tenant=crm', 6], [`endpoint=shop/strict&state=retrying&since=${middle}`, 0],
    ['status=question&brand=yd&state=unrouted&since=6h', 3],
  ]) {
    await page.goto(`${on.base('operator')}/events?${query}`);
    const [here, there] = [await ids(page), await inApi(on, query)];
    assert.deepEqual(here, there, query);
    assert.ok(here.length >= atLeast, `${query}: ${here.length} rows`);
    assert.equal(await page.locator('.chips .tag').count(), query.split('&').length, `${query}: each part can be taken away`);
  }
  const shop = await on.open('/events?status=signed', { as: 'shop' });
  assert.deepEqual(await ids(shop), await inApi(on, 'status=signed', 'shop'));
});

check('11 events: the forms, and a link that keeps all', async (on) => {
  const page = await on.open('/events', { as: 'operator' });
  const pick = async (name, values) => {
    const box = page.locator('details.pick', { hasText: name });
    await box.locator('summary').click();
    for (const value of values) await box.locator(`input[value="${value}"]`).check();
    await box.locator('button').click();
    await page.waitForLoadState();
  };
  await pick('Status', ['signed', 'question']);
  assert.equal(new URL(page.url()).searchParams.get('status'), 'signed,question', 'the address is short');
  await pick('Brand', ['zt']);
  const filtered = 'status=signed,question&brand=zt';
  const rows = await inApi(on, filtered);
  assert.deepEqual(await ids(page), rows);

  // Reload, back and forward, and another browser in another zone give the same rows.
  await page.reload();
  assert.deepEqual(await ids(page), rows);
  await page.goBack();
  assert.deepEqual(await ids(page), await inApi(on, 'status=signed,question'));
  await page.goForward();
  assert.deepEqual(await ids(page), rows);
  const there = await on.open(new URL(page.url()).search.replace(/^/, '/events'), { as: 'operator', timezoneId: 'America/New_York' });
  assert.deepEqual(await ids(there), rows);

  // A time is picked in the reader's zone, and is an instant in the address.
  await page.goto(`${on.base('operator')}/events`);
  await page.locator('details.pick', { hasText: 'Time' }).locator('summary').click();
  await page.locator('input[name=from]').fill('2026-01-02T08:00:00');
  await page.locator('details.pick[open] button').click();
  await page.waitForURL(/since=/);
  assert.equal(new URL(page.url()).searchParams.get('since'), '2026-01-02T00:00:00Z', 'Shanghai is 8 h ahead');
  await page.locator('.chips .tag').click();
  await page.waitForURL(/\/events$/);
});

check('11 events: pages go both ways, and to a time', async (on) => {
  const page = await on.open('/events?limit=20&since=6h', { as: 'operator' });
  const { body: { events } } = await on.api('/events?limit=100&since=6h');
  const all = events.map((e) => e.id).slice(0, 40);
  const first = await ids(page);
  assert.deepEqual(first, all.slice(0, 20));
  const older = page.locator('#older a[rel=next]');
  const newer = page.locator('#older a[rel=prev]');
  await older.click();
  await page.waitForURL(/cursor=/);
  assert.deepEqual(await ids(page), all.slice(20, 40));
  await newer.click();
  await page.waitForURL(/newer=1/);
  assert.deepEqual(await ids(page), first, 'back again');
  await older.click();
  await page.waitForURL((url) => !url.searchParams.has('newer'));
  assert.deepEqual(await ids(page), all.slice(20, 40), 'and on again');

  const at = events[10].accepted_at;
  await page.goto(`${on.base('operator')}/events?limit=20&at=${encodeURIComponent(at)}`);
  const before = (e) => Date.parse(e.accepted_at) < Date.parse(at);
  const jumped = events.filter(before).slice(0, 20).map((e) => e.id);
  assert.deepEqual(await ids(page), jumped);
  await newer.click();
  await page.waitForURL(/newer=1/);
  assert.equal((await ids(page)).at(-1), events.findLast((e) => !before(e)).id, 'the page joins');
});

// rare looks for the few events that a filter takes, with many younger ones before them.
async function rare(on, many) {
  await on.do('push', { updates: [1, 2, 3].map((n) => ({ waybill: `RARE${n}`, brand: 'jt', status: 'question' })) });
  const filled = await on.do('fill', { updates: many, prefix: 'R' });
  assert.equal(filled.accepted, many);
  await until('none is in the spool any more', async () => !(await on.api('/status')).body.spooled);
  const began = Date.now();
  const page = await on.open('/events?status=question&brand=jt', { as: 'operator' });
  await page.locator('[data-event]').nth(2).waitFor({ timeout: 120_000 });
  await until('the search has come to its end', async () => (await page.locator('[data-more]').count()) === 0, 120_000);
  const searched = Date.now() - began;
  assert.equal(await page.locator('[data-event]').count(), 3);
  const text = await page.locator('#search').innerText();
  const [, looked] = /Looked at ([\d,]+)/.exec(text);
  assert.ok(Number(looked.replaceAll(',', '')) >= many, text);
  assert.match(text, /3 found/);
  assert.ok(await page.locator('#empty').isHidden());

  // It can be stopped: what is under way then is not shown, nothing more is asked for, and a link goes on.
  const slow = await on.context({ as: 'operator' });
  const stopped = await slow.newPage();
  let asked = 0;
  await slow.route('**/events?*part=more*', async (route) => {
    asked++;
    if (asked === 1) await stopped.locator('[data-stop]').click();
    await route.continue();
  });
  const [answer] = await Promise.all([
    stopped.waitForResponse(/part=more/),
    stopped.goto(`${on.base('operator')}/events?status=question&brand=jt`),
  ]);
  await answer.finished();
  await stopped.locator('[data-more]').waitFor();
  await stopped.evaluate(() => new Promise((done) => { setTimeout(done, 300); })); // five times the pause between two
  assert.equal(asked, 1, 'it is stopped');
  assert.match(await stopped.locator('#search time').innerText(), /\d\d:\d\d:\d\d/, 'it says how far back it has looked');
  await slow.unroute('**/events?*part=more*');
  await stopped.locator('[data-more]').click();
  await stopped.locator('[data-event]').nth(2).waitFor({ timeout: 120_000 });
  return { took: filled.took, searched };
}

check('11 events: a rare filter looks on by itself, says how far, and can be stopped', async (on) => {
  await rare(on, 12_000);
});

check('12 events: more than can be read are counted, and some of them shown', async (on) => {
  const page = await on.open('/events?brand=ytsd', { as: 'operator' });
  await page.locator('#rows').waitFor({ state: 'attached' });
  await on.do('push', { updates: [{ waybill: 'CALM1', brand: 'ytsd' }] });
  await page.locator('[data-event]').first().waitFor();
  let sum = 1;
  for (const prefix of ['A', 'B', 'C']) {
    await on.do('fill', { updates: 150, brand: 'ytsd', prefix, together: 50 });
    sum += 150;
    await page.locator('#fast', { hasText: new RegExp(`(^|· )${sum.toLocaleString('en')} came`) }).waitFor();
    if (prefix === 'A') assert.match(await page.locator('#fast').innerText(), /fast: 1 of \d+ shown/);
  }
  const rows = await page.locator('[data-event]').count();
  assert.ok(rows > 20 && rows <= 200, `${rows} rows`);
});

const share = (all, part) => Math.round(all.toSorted((a, b) => a - b)[Math.ceil(all.length * part) - 1]);
const p95 = (all) => share(all, 0.95);

check.long('12 events: with 100,000 of them the first page is quick, and minutes of live cost little', async (on) => {
  await on.newStage({ relays: 1 });
  const filled = await on.do('fill', { updates: 100_000, together: 500 });
  console.log(`100,000 events in ${filled.took} ms`);
  await until('all are delivered', async () => (await on.do('received', { endpoint: 'orders' })).new >= 100_000, 300_000);
  const page = await on.open('/events', { as: 'operator' });
  const times = [];
  const server = [];
  for (let i = 0; i < 40; i++) {
    await page.goto(`${on.base('operator')}/events`);
    await page.locator('[data-event]').nth(49).waitFor();
    const t = await page.evaluate(() => {
      const [n] = performance.getEntriesByType('navigation');
      return [n.domContentLoadedEventEnd - n.startTime, n.responseEnd - n.requestStart];
    });
    times.push(t[0]);
    server.push(t[1]);
  }
  console.log(`first page: p50 ${share(times, 0.5)} ms, p95 ${p95(times)} ms in the browser; ` +
    `p50 ${share(server, 0.5)} ms, p95 ${p95(server)} ms of the server`);
  assert.ok(p95(times) < 500 && p95(server) < 100, `p95 ${p95(times)} ms, server ${p95(server)} ms`);
  console.log(JSON.stringify(await rare(on, 100_000)));

  // Live, at 50 a second.
  const minutes = Number(process.env.BROWSER_MINUTES ?? 10);
  await page.goto(`${on.base('operator')}/events`);
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.enable');
  const heap = async () => {
    await session.send('HeapProfiler.collectGarbage');
    return (await session.send('Runtime.getHeapUsage')).usedSize;
  };
  await page.evaluate(() => {
    window.longTasks = [];
    new PerformanceObserver((list) => { for (const e of list.getEntries()) window.longTasks.push(e.duration); })
      .observe({ type: 'longtask' });
  });
  const before = await heap();
  let live = 0;
  for (let minute = 0; minute < minutes; minute++) { // a request of node may take five minutes
    live += (await on.do('fill', { updates: 50 * 60, rate: 50, together: 10, prefix: `L${minute}` })).accepted;
  }
  const grown = (await heap()) - before;
  const rows = await page.locator('[data-event]').count();
  const longest = await page.evaluate(() => Math.max(0, ...window.longTasks));
  const said = await page.locator('#fast').innerText();
  console.log(`${minutes} min of live: ${live} events; ${rows} rows; ${(grown / 1e6).toFixed(1)} MB of heap; longest task ${longest} ms; ${said}`);
  assert.ok(rows <= 200 && grown < 20e6 && longest < 200, said);
});
