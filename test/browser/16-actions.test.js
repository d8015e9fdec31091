import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const endpoint = (name, more = '') => `      - {name: ${name}, url: 'RECEIVER/${name}', secrets: [${secret}]${more}}`;

stage({
  relays: 1,
  tenants: `
tenants:
  - name: shop
    api_keys: [{key: shop-key-of-the-stage, name: backend}]
    endpoints:
${endpoint('orders', ', retry: [1h], breaker: {failures: 0}')}
${endpoint('strict', ', retry: [10ms, 10ms]')}
    routes:
      - {to: orders, match: {cp_code: zt}}
      - {to: strict, match: {cp_code: sto}}
  - name: crm
    api_keys: [crm-key-of-the-stage]
    endpoints:
${endpoint('sync')}
`,
});

// got counts what a receiver got of a waybill, by its reason.
async function got(on, name, waybill, reason) {
  const all = await on.do('got', { endpoint: name });
  return all.filter((r) => r.body.includes(`"${waybill}"`) && (!reason || r.headers['kuairelay-reason'] === reason)).length;
}

// done is how often somebody did something to an endpoint, as the audit has it: what is alike, within a minute, is one entry.
async function done(on, as, what, endpoint) {
  const { body } = await on.api(`/audit?what=${what}`);
  const own = body.acts.filter((a) => a.by.name === as && a.subject.startsWith(`shop/${endpoint}`) && !/^failed/.test(a.result));
  return own.reduce((sum, a) => sum + a.times, 0);
}

// once does what a page has a button for by a double click, and sees that the audit has it once, with who did it.
async function once(on, as, what, endpoint, press) {
  const before = await done(on, as, what, endpoint);
  await press();
  await until(`the audit has the ${what}`, async () => (await done(on, as, what, endpoint)) > before);
  assert.equal(await done(on, as, what, endpoint), before + 1, `the ${what} was done once`);
}

const twice = (button) => button.dblclick({ noWaitAfter: true });
const note = (page) => page.locator('p.note');
const state = async (on, name) => (await on.api(`/endpoints/shop/${name}`)).body.state;
const card = (page, name) => page.locator(`article[data-endpoint="shop/${name}"]`);

// eventIn pushes an update, and waits until its delivery is in a state.
async function eventIn(on, waybill, brand, wanted) {
  await on.do('push', { updates: [{ waybill, brand }] });
  return until(`${waybill} is ${wanted}`, async () => (
    await on.api(`/events?waybill_code=${waybill}&state=${wanted}`)).body.events[0]);
}

for (const as of ['operator', 'shop']) {
  const mark = as === 'operator' ? 'O' : 'S';

  check(`16 actions: a test, a pause and a resume as ${as} are done once`, async (on) => {
    await on.do('answer', { endpoint: 'orders', status: 200 });
    const page = await on.open('/endpoints/shop/orders', { as });
    const tests = async () => (await on.do('got', { endpoint: 'orders' })).length;
    const before = await tests();
    await once(on, as, 'test', 'orders', async () => {
      await page.getByRole('link', { name: 'Send a test', exact: true }).click();
      const dialog = page.getByRole('dialog');
      await twice(dialog.getByRole('button', { name: 'Send a test' }));
      await dialog.locator('[data-test-result].good').waitFor();
      assert.match(await dialog.locator('[data-test-result]').innerText(), /200/);
      await page.keyboard.press('Escape');
    });
    assert.equal(await tests(), before + 1, 'the receiver got one');

    await once(on, as, 'pause', 'orders', async () => {
      await twice(page.locator('#head').getByRole('button', { name: 'Pause' }));
      await note(page).getByText('Paused. Resume undoes this.').waitFor();
    });
    assert.equal(await state(on, 'orders'), 'paused');
    await once(on, as, 'resume', 'orders', async () => {
      await twice(page.locator('#head').getByRole('button', { name: 'Resume' }));
      await note(page).getByText('Resumed.').waitFor();
    });
    assert.notEqual(await state(on, 'orders'), 'paused');
    const log = await page.locator('#log').innerText();
    assert.match(log, new RegExp(`resumed[^]*${as}[^]*paused[^]*${as}`, 'i'), 'the log of the endpoint has both at once');
  });

  check(`16 actions: one is tried now, and sent again, as ${as}`, async (on) => {
    await on.do('answer', { endpoint: 'orders', status: 503, body: 'busy' });
    const waybill = `TRY${mark}1`;
    const event = await eventIn(on, waybill, 'zt', 'retrying');
    assert.equal(await got(on, 'orders', waybill), 1);
    await on.do('answer', { endpoint: 'orders', status: 200 });
    const page = await on.open(`/event?id=${event.id}`, { as });
    await once(on, as, 'retry', 'orders', async () => {
      await twice(card(page, 'orders').getByRole('button', { name: 'Try now' }));
      await note(page).getByText('1 tried now.').waitFor();
    });
    await card(page, 'orders').locator('.state', { hasText: 'delivered' }).waitFor();
    assert.equal(await got(on, 'orders', waybill), 2, 'one attempt more');

    await once(on, as, 'resend', 'orders', async () => {
      await twice(card(page, 'orders').getByRole('button', { name: 'Send again' }));
      await note(page).getByText('1 queued again.').waitFor();
    });
    await until('the receiver has it once more', async () => (await got(on, 'orders', waybill)) > 2);
    await until('it is delivered', async () => (await on.api(`/events/${event.id}`)).body.deliveries[0].state === 'delivered');
    assert.equal(await got(on, 'orders', waybill), 3, 'once more');
    assert.equal(await got(on, 'orders', waybill, 'replay'), 1);
  });

  check(`16 actions: one dead letter is sent again, and one dismissed, as ${as}`, async (on) => {
    await on.do('answer', { endpoint: 'strict', status: 422, body: 'no' });
    const [again, gone] = [`DEAD${mark}1`, `DEAD${mark}2`];
    const first = await eventIn(on, again, 'sto', 'dead');
    const second = await eventIn(on, gone, 'sto', 'dead');
    const had = await got(on, 'strict', again);
    await on.do('answer', { endpoint: 'strict', status: 200 });
    const page = await on.open('/dead-letters', { as });
    const row = (event) => page.locator(`#rows [data-event="${event.id}"]`);
    await once(on, as, 'redrive', 'strict', async () => {
      await twice(row(first).getByRole('button', { name: 'Send again' }));
      await note(page).getByText('1 queued again.').waitFor();
    });
    await until('it is delivered', async () => (await on.api(`/events/${first.id}`)).body.deliveries[0].state === 'delivered');
    assert.equal(await got(on, 'strict', again), had + 1, 'the receiver got it once more');
    assert.equal(await got(on, 'strict', again, 'redrive'), 1);
    await row(first).waitFor({ state: 'detached' });

    const before = await got(on, 'strict', gone);
    await once(on, as, 'dismiss', 'strict', async () => {
      await twice(row(second).getByRole('button', { name: 'Dismiss' }));
      await note(page).getByText('1 dismissed.').waitFor();
    });
    await row(second).waitFor({ state: 'detached' });
    const { body } = await on.api(`/events/${second.id}`);
    assert.equal(body.deliveries[0].state, 'dismissed');
    assert.equal(await got(on, 'strict', gone), before, 'the receiver got nothing');
  });
}

check('16 actions: what cannot be done is said in words', async (on) => {
  await on.do('answer', { endpoint: 'strict', status: 422, body: 'no' });
  const event = await eventIn(on, 'WORDS1', 'sto', 'dead');

  // Somebody else was quicker.
  const page = await on.open('/dead-letters', { as: 'operator' });
  const row = page.locator(`#rows [data-event="${event.id}"]`);
  await row.waitFor();
  const letter = { event_id: event.id, endpoint: 'shop/strict' };
  await on.api('/dead-letters/dismiss', { method: 'POST', body: { dead_letters: [letter] } });
  await row.getByRole('button', { name: 'Dismiss' }).click();
  await note(page).getByText('It was no dead letter any more: nothing was done.').waitFor();

  // A test that is refused, and one of a receiver that is not there, with what to do.
  await page.goto(`${on.base('operator')}/endpoints/shop/strict`);
  await page.getByRole('link', { name: 'Send a test', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Send a test' }).click();
  await dialog.locator('[data-test-result].bad').waitFor();
  assert.match(await dialog.locator('[data-test-result]').innerText(), /422/);
  await on.do('answer', { endpoint: 'strict', status: 401 });
  await dialog.getByRole('button', { name: 'Send another' }).click();
  await dialog.getByText(/signature/).first().waitFor();
  await page.keyboard.press('Escape');

  // An endpoint that is no more, on a page that was open before.
  const open = await on.open('/endpoints/shop/strict', { as: 'shop' });
  await on.do('config', { replace: ['name: strict,', 'name: renamed,', 'to: strict,', 'to: renamed,'] });
  await open.locator('#head').getByRole('button', { name: 'Pause' }).click();
  await open.getByRole('heading', { name: 'There is nothing here' }).waitFor();

  // Redis is away.
  on.allow(/answers 503/);
  await page.goto(`${on.base('operator')}/endpoints/shop/orders`);
  await on.do('redis', { do: 'stop' });
  await page.locator('#head').getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('heading', { name: 'Redis does not answer' }).waitFor();
  await on.do('redis', { do: 'start' });
  await until('it is not paused', async () => (await on.api('/endpoints/shop/orders')).status === 200);
  assert.notEqual(await state(on, 'orders'), 'paused');
});
