import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';

stage({
  relays: 1,
  tenants: `
tenants:
  - name: shop
    api_keys: [{key: shop-key-of-the-stage, name: backend}]
    endpoints:
      - {name: orders, url: 'RECEIVER/orders', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1h]}
      - {name: strict, url: 'RECEIVER/strict', secrets: [whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [10ms, 10ms]}
      - {name: slow, url: 'RECEIVER/slow', timeout: 1s, secrets: [whsec_PfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1h]}
      - {name: gone, url: 'RECEIVER/gone', secrets: [whsec_QfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1h]}
    routes:
      - {to: orders, match: {cp_code: zt}}
      - {to: strict, match: {cp_code: sto}}
      - {to: slow, match: {cp_code: yd}}
      - {to: gone, match: {cp_code: jt}}
  - name: crm
    api_keys: [crm-key-of-the-stage]
    endpoints:
      - {name: sync, url: 'RECEIVER/sync', secrets: [whsec_SfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
    routes:
      - {to: sync, match: {status: [question, collected]}}
      - {to: sync, match: {cp_code: sto}, when: "event.waybill_code == 'NOBODY'"}
      - {to: sync, match: {cp_code: sto}, when: "event.data[7] == 'x'"}
      - {to: sync, match: {subscribed: true}}
      - {to: sync, match: {changed: status, status: signed, waybill_code: OTHER}}
`,
});

const eventOf = async (on, waybill, status) => until(`${waybill} is accepted`, async () => {
  const { body } = await on.api(`/events?waybill_code=${waybill}${status ? `&status=${status}` : ''}`);
  return body.events?.[0];
});

// settled opens the page of an event when its first delivery is in a state.
async function settled(on, waybill, state, status) {
  const event = await eventOf(on, waybill, status);
  if (state) {
    await until(`${waybill} is ${state}`, async () => {
      const { body } = await on.api(`/events/${event.id}`);
      return body.deliveries.some((d) => d.state === state);
    });
  }
  return on.open(`/event?id=${event.id}`, { as: 'operator' });
}

const card = (page, endpoint) => page.locator(`article[data-endpoint="${endpoint}"]`);

check('14 one event: retrying with a countdown, waiting behind it, tried now, and delivered', async (on) => {
  const headers = { 'retry-after': '30', server: 'nginx' };
  await on.do('answer', { endpoint: 'orders', status: 503, body: 'busy'.repeat(1000), headers });
  await on.do('push', { updates: [{ waybill: 'W1', status: 'sending' }, { waybill: 'W1', status: 'signed' }] });
  const page = await settled(on, 'W1', 'retrying', 'sending');
  const box = card(page, 'shop/orders');
  assert.match(await box.innerText(), /retrying[^]*1 of at most 2 attempts failed\. The next one is at/);
  const left = box.locator('[data-left]');
  await until('it counts down', async () => {
    const [text, at] = await left.evaluate((e) => [e.textContent, e.dataset.left]);
    assert.match(text, /^(\d+:)?\d?\d:\d\d$/);
    const shown = text.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);
    return Math.abs(shown - (Date.parse(at) - Date.now()) / 1000) < 3;
  });
  const first = await left.innerText();
  await until('it goes on counting', async () => await left.innerText() !== first);
  assert.match(await box.innerText(), /Given up at the latest/);

  // What the receiver answered is kept, but for what is over a KiB.
  await box.locator('summary', { hasText: 'Answer to #1' }).click();
  const answer = await box.locator('.scale pre').innerText();
  assert.equal(answer, 'busy'.repeat(256), 'the first KiB');
  assert.match(await box.locator('.fields').first().innerText(), /nginx/);

  const behind = await settled(on, 'W1', 'waiting', 'signed');
  assert.match(await card(behind, 'shop/orders').innerText(), /waiting[^]*behind an older update/);
  assert.match(await behind.locator('.facts').innerText(), /update 2 of 2/);
  await card(behind, 'shop/orders').getByText('which one?').click();
  await behind.waitForURL(/id=/);
  assert.equal(behind.url(), page.url(), 'it leads to the one before');

  // It goes on by itself, and an open answer stays open until then.
  await on.do('answer', { endpoint: 'orders', status: 200 });
  await box.getByRole('button', { name: 'Try now' }).click();
  await box.getByText('delivered').waitFor();
  await page.locator('#sum', { hasText: 'delivered' }).waitFor();
});

check('14 one event: duplicate, dead, dismissed, sent again, replayed', async (on) => {
  await on.do('answer', { endpoint: 'strict', status: 422, body: '{"error":"unknown"}' });
  const update = { waybill: 'D1', brand: 'sto', status: 'sending', time: '2026-11-29 10:00:00', context: 'x' };
  await on.do('push', { updates: [update, update, update] });
  const page = await settled(on, 'D1', 'dead');
  const box = card(page, 'shop/strict');
  assert.match(await box.innerText(), /dead[^]*422/);
  const { body: dead } = await on.api(`/events/${new URL(page.url()).searchParams.get('id')}`);
  assert.equal(await box.locator('.scale li').count(), dead.deliveries[0].tries.length);
  assert.ok(dead.deliveries[0].tries.length > 0);
  await until('the page says that it came again', async () => {
    const times = await page.locator('#times').innerText();
    return (times.match(/Came again, and was dropped as a duplicate/g) ?? []).length === 2;
  });
  await page.goto(`${on.base('operator')}/events?waybill_code=D1`);
  assert.match(await page.locator('[data-event]').first().innerText(), /3 times/);
  await page.goBack();

  await box.getByRole('button', { name: 'Dismiss' }).click();
  await box.getByText('dismissed').waitFor();
  await on.do('answer', { endpoint: 'strict', status: 200 });
  await box.getByRole('button', { name: 'Send again' }).click();
  await box.locator('.state', { hasText: 'delivered' }).waitFor();
  await box.locator('.tag').waitFor(); // why it was sent
  const id = new URL(page.url()).searchParams.get('id');
  const { body: { deliveries: [d] } } = await on.api(`/events/${id}`);
  const reasons = { redrive: 'sent again from the dead letters', replay: 'replay' };
  assert.equal(await box.locator('.tag').innerText(), reasons[d.reason]);
});

check('14 one event: timeouts to scale, gone, paused, and owed to nobody', async (on) => {
  await on.do('answer', { endpoint: 'slow', hang: true });
  await on.do('answer', { endpoint: 'gone', status: 410 });
  await on.do('push', { updates: [
    { waybill: 'S1', brand: 'yd' }, { waybill: 'G1', brand: 'jt' }, { waybill: 'U1', brand: 'dbkd', status: 'sending' },
  ] });
  const slow = await settled(on, 'S1', 'retrying');
  assert.match(await card(slow, 'shop/slow').innerText(), /timeout after/);
  const bar = await card(slow, 'shop/slow').locator('rect').getAttribute('width');
  assert.ok(Number(bar) >= 40 && Number(bar) <= 80, `a second is a quarter of the bar: ${bar}`);

  const gone = await settled(on, 'G1', 'retrying');
  await until('gone is said', async () => /gone since/.test(await card(gone, 'shop/gone').innerText()));
  const nobody = await settled(on, 'U1');
  assert.match(await nobody.locator('.owed').innerText(), /No route matched/);

  await card(slow, 'shop/slow').getByRole('button', { name: 'Pause shop/slow' }).click();
  await card(slow, 'shop/slow').getByText('paused since').waitFor();
});

check('14 one event: its request, as it is sent', async (on) => {
  await on.do('answer', { endpoint: 'orders', status: 200 });
  await on.do('push', { updates: [{ waybill: 'R1', status: 'signed', context: "it's $(here)" }] });
  const page = await settled(on, 'R1', 'delivered');
  const box = card(page, 'shop/orders');
  await box.locator('summary', { hasText: 'Request' }).click();
  await box.locator('.request pre').first().waitFor();
  const text = await box.locator('.request').innerText();
  assert.match(text, /POST http:\/\/127\.0\.0\.1:\d+\/orders/);
  assert.match(text, /v1,\(signature\)/);
  for (const key of Object.values(on.keys)) assert.ok(!text.includes(key));
  const sent = (await on.do('got', { endpoint: 'orders' })).find((r) => r.body.includes('"R1"'));
  await page.goto(`${on.base('operator')}/event?id=${new URL(page.url()).searchParams.get('id')}&form=shop/orders`);
  const copy = await page.locator('#data [data-copy64]').getAttribute('data-copy64');
  const shown = JSON.parse(Buffer.from(copy, 'base64').toString('utf8'));
  assert.deepEqual(shown.data, JSON.parse(sent.body).data, 'as the endpoint got it');
});

check('15 why not: each route says what decided, with file and line', async (on) => {
  await on.do('answer', { endpoint: 'strict', status: 200 });
  await on.do('push', { updates: [{ waybill: 'Y1', brand: 'sto', status: 'sending' }] });
  const page = await settled(on, 'Y1', 'delivered');
  await page.locator('#routes details summary').click();
  const rows = await page.locator('#routes li').allInnerTexts();
  const { body: event } = await on.api(`/events/${new URL(page.url()).searchParams.get('id')}`);
  assert.equal(rows.length, event.routes.length);

  // The line in the file is that of the route.
  const { text } = await on.do('config');
  const lines = text.split('\n');
  const ahead = 3; // lines that the relay has for itself
  const at = (part) => lines.findIndex((l) => l.includes(part)) + 1 + ahead;
  for (const [part, why] of [
    ['{to: strict, match', /^✓/],
    ['{to: orders, match', /✗[^]*cp_code "sto" is not zt/],
    ['status: [question, collected]', /✗[^]*status "sending" is/],
    ["event.waybill_code == 'NOBODY'", /✗[^]*when/],
    ["event.data[7] == 'x'", /✗[^]*when/],
    ['subscribed: true', /✗[^]*subscribed/],
    ['changed: status', /✗/],
  ]) {
    const row = rows.find((r) => r.includes(`config.yaml:${at(part)} `));
    assert.ok(row, `no row of line ${at(part)} (${part}) in\n${rows.join('\n')}`);
    assert.match(row.replaceAll('\n', ' '), why);
    const of = event.routes.find((r) => r.at.endsWith(`:${at(part)}`));
    assert.ok(row.includes(of.why), 'the page says what the API says');
  }
});
