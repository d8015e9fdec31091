import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const endpoint = (name, more = '') => `      - {name: ${name}, url: 'RECEIVER/${name}', secrets: [${secret}]${more}}`;

stage({
  relays: 1,
  tenants: `
tenants:
  - name: shop
    api_keys: [shop-key-of-the-stage]
    endpoints:
${endpoint('good')}
${endpoint('failing', ', retry: [50ms, 1h], breaker: {failures: 0}')}
${endpoint('broken', ', retry: [50ms, 1h], breaker: {failures: 1, cool_off: 1h}')}
${endpoint('gone')}
${endpoint('refusing', ', retry: [20ms, 20ms, 20ms, 20ms]')}
${endpoint('paused')}
${endpoint('idle')}
${endpoint('once', ', retry: [1h]')}
    routes: [{to: [good, failing, broken, gone, refusing, paused, once], match: {status: [collected, sending, delivering]}}]
  - name: crm
    api_keys: [crm-key-of-the-stage]
    endpoints:
${endpoint('sync')}
    routes: [{to: sync, match: {status: [delivering]}}]
`,
});

const words = { ok: 'ok', failing: 'failing', idle: 'idle', paused: 'paused', gone: 'gone', open: 'breaker open' };
const count = (n) => n.toLocaleString('en-US');

let ready; // once for all checks

function seeded(on) {
  ready ??= seed(on);
  return ready;
}

// seed brings about what is to be compared: endpoints in each state; deliveries that are delivered, retrying, waiting,
// dead, dismissed, sent again and replayed, at endpoints that are paused, gone and broken; an event that came twice, one
// that no route took, a callback that was not understood, and a replay.
async function seed(on) {
  for (const [name, status] of [['failing', 500], ['broken', 503], ['gone', 410], ['refusing', 422], ['once', 503]]) {
    await on.do('answer', { endpoint: name, status, body: `no, says ${name}` });
  }
  await on.api('/endpoints/shop/paused/pause', { method: 'POST' });
  const updates = ['700001', '700002', '700003'].map((waybill) => ({ waybill, status: 'collected', time: '2026-11-29 10:00:00' }));
  await on.do('push', { updates });
  await on.do('push', { updates: [updates[0], { waybill: '700001', status: 'sending' }, { waybill: '700001', status: 'delivering' }] });
  await on.do('push', { updates: [{ waybill: '700009', status: 'signed' }] }); // no route takes it
  await on.do('push', { bodies: ['<b>not understood'], type: 'text/plain' });
  await until('each endpoint is in its state', async () => {
    const states = Object.fromEntries((await on.api('/endpoints')).body.endpoints.map((e) => [e.endpoint, e.state]));
    return states['shop/failing'] === 'failing' && states['shop/broken'] === 'open' && states['shop/gone'] === 'gone' &&
      states['shop/good'] === 'ok' && (await on.api('/endpoints/shop/refusing')).body.dead === 5;
  });
  const { body } = await on.api('/dead-letters?endpoint=shop/refusing');
  const [first, second] = body.dead_letters.map((d) => ({ event_id: d.event_id, endpoint: d.endpoint }));
  await on.api('/dead-letters/dismiss', { method: 'POST', body: { dead_letters: [first] } });
  await on.do('answer', { endpoint: 'refusing', status: 200 });
  await on.api('/dead-letters/redrive', { method: 'POST', body: { dead_letters: [second] } });
  const replay = await on.api('/replays', { method: 'POST', body: { endpoint: 'shop/good' } });
  await until('all has settled', async () => (await on.api('/endpoints/shop/refusing')).body.open === 0 &&
    (await on.api(`/replays/${replay.body.id}`)).body.state === 'done');
}

const texts = (page, selector) => page.locator(selector).evaluateAll((all) => all.map((e) => e.innerText.replace(/\s+/g, ' ').trim()));

check('07 page equals API: what pages show of endpoints, events and dead letters is what the API says', async (on) => {
  await seeded(on);

  for (const as of ['operator', 'shop', 'crm']) {
    const api = async (path) => (await on.api(path, { as })).body;
    const page = await on.open('/endpoints?sort=name', { as });
    const show = (path) => page.goto(on.base(as) + path);

    // The list of endpoints: states, and how much there is of each kind.
    await until(`the endpoints of ${as}`, async () => {
      await show('/endpoints?sort=name');
      const want = (await api('/endpoints')).endpoints.map((e) => [e.endpoint, words[e.state], count(e.open), count(e.waiting), count(e.dead)].join());
      const got = await page.locator('#rows tr').evaluateAll((all) => all.map((tr) => [tr.dataset.endpoint,
        tr.querySelector('.state').lastChild.textContent.trim(), ...[...tr.querySelectorAll('td.number')].slice(0, 3).map((td) => td.innerText.trim())].join()));
      assert.deepEqual(got, want);
      return true;
    });

    // Each endpoint's page, and the times in it.
    for (const e of (await api('/endpoints')).endpoints) {
      await show(`/endpoints/${e.endpoint}`);
      assert.equal(await page.locator('#head .state').evaluate((s) => s.lastChild.textContent.trim()), words[e.state], e.endpoint);
      assert.deepEqual((await texts(page, '#figures .figure .value')).slice(0, 3), [e.open, e.waiting, e.dead].map(count), e.endpoint);
      if (e.since) assert.equal(await page.locator('#head time').first().getAttribute('datetime'), new Date(e.since).toISOString());
      const log = (await on.api(`/endpoints/${as === 'operator' ? e.endpoint : e.endpoint.split('/')[1]}/log`, { as })).body.entries;
      assert.equal(await page.locator('#log li').count(), log.length, `the log of ${e.endpoint}`);
    }

    // The overview: problems in their order, and endpoints by state.
    await until(`the overview of ${as}`, async () => {
      await show('/');
      const status = await api('/status');
      assert.deepEqual(await page.locator('[data-problem]').evaluateAll((all) => all.map((p) => `${p.dataset.problem} ${p.dataset.subject}`)),
        status.problem_list.map((p) => `${p.code} ${p.subject}`));
      const chips = Object.entries(status.states).filter(([, n]) => n > 0).map(([s, n]) => `${words[s]} ${count(n)}`).sort();
      assert.deepEqual((await texts(page, '#endpoints .chip')).map((c) => c.replace(/^\S+ /, '')).sort(), chips);
      assert.match((await texts(page, '#figures'))[0], new RegExp(`${count(status.open)} open`));
      return true;
    });

    // Events in their order, each with what became of its deliveries.
    await show('/events');
    const { events } = await api('/events');
    assert.deepEqual(await page.locator('[data-event]').evaluateAll((all) => all.map((e) => e.dataset.event)), events.map((e) => e.id));
    for (const e of events) {
      const text = await page.locator(`[data-event="${e.id}"]`).innerText();
      for (const part of [e.waybill_code, e.status, ...(e.deliveries ?? []).map((d) => d.endpoint)]) assert.ok(text.includes(part), `${part} of ${text}`);
    }

    // Dead letters.
    await show('/dead-letters');
    const { dead_letters: dead } = await api('/dead-letters');
    const shown = await page.locator('[data-event]').evaluateAll((all) => all.map((e) => e.dataset.event));
    if (dead.length) assert.deepEqual([...new Set(shown)].sort(), [...new Set(dead.map((d) => d.event_id))].sort());
    else assert.equal(shown.length, 0);
  }
});

const when = (page, selector) => page.locator(selector).evaluateAll((all) => all.map((t) => Date.parse(t.getAttribute('datetime'))));
const shown = (e) => e.lastChild.textContent.trim();

check('07 page equals API: what the page of each event and waybill shows is what the API says', async (on) => {
  await seeded(on);
  for (const as of ['operator', 'shop', 'crm']) {
    const api = async (path) => (await on.api(path, { as })).body;
    const page = await on.open('/help', { as });
    const show = (path) => page.goto(on.base(as) + path);
    const { events } = await api('/events');
    assert.ok(events.length >= (as === 'crm' ? 1 : 5));
    const states = new Set();
    for (const { id } of events) {
      const e = await api(`/events/${id}`);
      await show(`/event?id=${id}`);
      assert.deepEqual(await when(page, '#times li > time'), [e.received_at, e.accepted_at, ...(e.repeated ?? []).map((r) => r.at)]
        .map((t) => Date.parse(t)), `the times of ${id}`);
      const cards = await page.locator('article[data-endpoint]').evaluateAll((all) => all.map((a) => [
        a.dataset.endpoint, a.querySelector('.state').lastChild.textContent.trim(),
        ...[...a.querySelectorAll('.scale > li > time')].map((t) => Date.parse(t.getAttribute('datetime')))].join()));
      const want = e.deliveries.map((d) => [d.endpoint, d.state, ...(d.tries ?? []).map((t) => Date.parse(t.at))].join());
      assert.deepEqual(cards.sort(), want.sort(), id);
      for (const d of e.deliveries) states.add(d.state);
      if (!e.deliveries.length) await page.getByText('No route matched').waitFor();
    }
    if (as === 'operator') assert.deepEqual([...states].sort(), ['dead', 'delivered', 'dismissed', 'queued', 'retrying', 'waiting'].sort());

    for (const code of new Set(events.map((e) => e.waybill_code))) {
      const w = await api(`/waybills/${code}`);
      await show(`/waybill?code=${code}`);
      assert.deepEqual(await page.locator('#rows [data-event]').evaluateAll((all) => all.map((r) => r.dataset.event)), w.events.map((e) => e.id));
      const marks = await page.locator('#rows .mark .sign').evaluateAll((all) => all.map((m) => m.ariaLabel));
      assert.deepEqual(marks.sort(), w.events.flatMap((e) => e.deliveries.map((d) => d.state)).sort(), code);
    }
  }
});

check('07 page equals API: what pages show of replays, quarantine and the audit is what the API says', async (on) => {
  await seeded(on);
  const page = await on.open('/replays', { as: 'operator' });
  const cells = (selector) => page.locator(selector).evaluateAll((all) => all.map((td) => td.innerText.trim()));
  const { replays } = (await on.api('/replays')).body;
  assert.equal(replays.length, 1);
  assert.deepEqual(await page.locator('#rows tr').evaluateAll((all) => all.map((tr) => tr.id)), replays.map((r) => r.id));
  assert.deepEqual(await cells('#rows td.number'), [count(replays[0].queued), count(replays[0].skipped)]);
  assert.equal(await page.locator('#rows .state').evaluate(shown), replays[0].state);
  assert.deepEqual(await when(page, '#rows time'), [Date.parse(replays[0].created_at)]);
  await page.locator('#rows th a').click();
  assert.deepEqual((await cells('#figures .value')).slice(1, 3), [count(replays[0].queued), count(replays[0].skipped)]);

  await page.goto(`${on.base('operator')}/quarantine`);
  const { quarantined } = (await on.api('/quarantine')).body;
  assert.equal(quarantined.length, 1);
  assert.deepEqual(await when(page, '#rows time'), quarantined.map((q) => Date.parse(q.received_at)));
  assert.deepEqual(await cells('#groups td.number'), [count(quarantined.length), '0 of 1']);

  await page.goto(`${on.base('operator')}/dead-letters`);
  const { dead_letters: dead, total } = (await on.api('/dead-letters?total=true')).body;
  assert.equal(dead.length, total);
  await page.locator('#kept b', { hasText: `${count(total)} dead letter` }).waitFor();
  assert.deepEqual(await when(page, '#rows tr > td:nth-child(2) time'), dead.map((d) => Date.parse(d.dead_at)));

  await page.goto(`${on.base('operator')}/system`);
  const { acts } = (await on.api('/audit')).body;
  assert.deepEqual((await when(page, '#audit time')).slice(0, acts.length), acts.map((a) => Date.parse(a.at)));
});
