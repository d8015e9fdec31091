import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';

const tenants = `
tenants:
  - name: shop
    api_keys: [{key: shop-key-of-the-stage, name: backend}]
    endpoints:
      - {name: orders, url: 'RECEIVER/orders', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1ms], max_in_flight: 50}
    routes:
      - {to: orders}
  - name: crm
    api_keys: [crm-key-of-the-stage]
    endpoints:
      - {name: sync, url: 'RECEIVER/sync', secrets: [whsec_PfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
`;
stage({ tenants });

const many = 1234;
const dead = async (on) => (await on.api('/dead-letters?limit=1&total=true')).body.total;
const got = async (on, reason) => (await on.do('received', { endpoint: 'orders' }))[reason] ?? 0;
const tests = async (on) => (await on.api('/audit?what=test')).body.acts.reduce((sum, a) => sum + a.count, 0);
// Other checks of this file may have left some.
const clear = async (on) => {
  while ((await on.api('/dead-letters/dismiss', { method: 'POST', body: { all: true } })).body.next);
};
const isDead = (on, n) => until(`${n} are dead`, async () => (await dead(on)) === n, 90_000);

check('17 bulk: the number of the dialog is the number that the receiver gets', async (on) => {
  await clear(on);
  await on.do('refused', { Count: many, From: 100000 });
  await isDead(on, many);
  await on.do('answer', { endpoint: 'orders', Status: 200 });

  const page = await on.open('/dead-letters', { as: 'operator' });
  await page.locator('#kept b', { hasText: '1,234 dead letters' }).waitFor();
  await on.shot(page, '17 dead letters');
  const act = page.locator('#groups a[data-dialog]').first();
  assert.equal(await act.textContent(), 'Send 1,234 again…');
  await act.click();
  const dialog = page.locator('dialog[open]');
  const go = dialog.getByRole('button', { name: 'Send 1,234 again', exact: true });
  await go.waitFor();
  await on.shot(page, '17 question');

  // Esc closes it, nothing is done, and the focus returns.
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.ok(await act.evaluate((e) => e === document.activeElement), 'the focus returns');
  assert.equal(await dead(on), many);

  await act.click();
  await go.click();
  await dialog.getByText('1,234 of 1,234 are queued again.').waitFor({ timeout: 90_000 });
  await on.shot(page, '17 done');
  await until('the receiver has them all', async () => (await got(on, 'redrive')) >= many);
  assert.equal(await got(on, 'redrive'), many);
  assert.equal(await dead(on), 0);
  await dialog.getByRole('link', { name: 'Close' }).click();
  await page.getByText('No dead letters: nothing was given up.').waitFor();

  const { body } = await on.api('/audit?what=redrive');
  assert.equal(body.acts.reduce((sum, a) => sum + a.count, 0), many, 'the audit has them');
});

check('17 bulk: it can be stopped half-way, and goes on', async (on) => {
  await clear(on);
  await on.do('refused', { Count: many, From: 200000 });
  await isDead(on, many);
  const page = await on.open('/dead-letters?endpoint=shop%2Forders', { as: 'operator' });
  await page.locator('#groups a[data-dialog]', { hasText: 'Dismiss' }).first().click();
  const dialog = page.locator('dialog[open]');

  // The first step is held until the reader has stopped.
  let release;
  const held = new Promise((done) => { release = done; });
  await page.route('**/dead-letters/dismiss?part=main', async (route) => { await held; await route.continue(); });
  await dialog.getByRole('button', { name: 'Dismiss 1,234' }).click();
  await dialog.getByRole('button', { name: 'Stop here' }).click();
  release();
  await dialog.getByText('500 of 1,234 are dismissed.').waitFor();
  assert.equal(await dead(on), many - 500);
  assert.equal(await dialog.locator('progress').getAttribute('value'), '500');
  await on.shot(page, '17 stopped');
  await dialog.getByRole('button', { name: 'Go on' }).click();
  await dialog.getByText('1,234 of 1,234 are dismissed.').waitFor();
  assert.equal(await dead(on), 0);
});

check('17 bulk: a filter that takes nothing cannot be sent', async (on) => {
  const page = await on.open('/dead-letters/sure?act=redrive&status=question', { as: 'shop' });
  await page.getByText('There is nothing to do').waitFor();
  assert.equal(await page.locator('[data-go]').count(), 0);
  const context = page.context();
  for (const expect of ['', '0']) {
    const answer = await context.request.post(`${on.base('shop')}/dead-letters/redrive`, {
      form: { all: '1', expect }, headers: { origin: new URL(on.base('shop')).origin },
    });
    assert.equal(answer.status(), 400);
  }
});

check('17 bulk: without JavaScript the question is a page', async (on) => {
  await clear(on);
  await on.do('refused', { Count: 3, From: 300000 });
  await isDead(on, 3);
  const page = await on.open('/dead-letters', { as: 'operator', javaScriptEnabled: false });
  await page.locator('#groups a[data-dialog]', { hasText: 'Dismiss 3' }).click();
  await on.shot(page, '17 question as a page');
  await page.getByRole('button', { name: 'Dismiss 3' }).click();
  await page.getByText('3 dismissed.').waitFor();
  assert.equal(await dead(on), 0);
});

check('17 bulk: a replay is counted, sent at its pace, ended, and guarded by what it expects', async (on) => {
  await on.do('answer', { endpoint: 'orders', Status: 200 });
  const before = await got(on, 'replay');
  const page = await on.open('/replays/new?endpoint=shop%2Forders&state=delivered', { as: 'operator' });
  await on.shot(page, '17 wizard');
  await page.getByRole('button', { name: 'Count first' }).click();
  await page.getByRole('button', { name: 'Send 1,234 again' }).waitFor();
  const counted = page.url();
  await on.shot(page, '17 counted');

  // The pace says how long it takes.
  const pace = page.locator('input[name=rate]');
  await pace.fill('10');
  assert.match(await page.locator('[data-pace-out]').textContent(), /about 2 min/);
  await page.getByRole('button', { name: 'Send 1,234 again' }).click();
  await page.waitForURL((url) => url.href !== counted);
  await until('some are sent', async () => (await got(on, 'replay')) > before);
  await page.locator('progress').waitFor();
  await on.shot(page, '17 running');
  await page.getByRole('button', { name: 'End it' }).click();
  await page.getByText('The replay ends.').waitFor();
  const id = page.url().match(/rpl_\w+/)[0];
  const { body } = await on.api(`/replays/${id}`);
  assert.equal(body.state, 'cancelled');
  assert.equal(body.request.rate, 10);
  assert.ok(body.queued > 0 && body.queued < 600, `${body.queued} were queued`);

  // Of what was counted as 5, there are more by now.
  await page.goto(counted);
  await page.locator('input[name=expect]').evaluate((e) => { e.value = '5'; });
  await page.getByRole('button', { name: 'Send 1,234 again' }).click();
  await page.getByRole('alert').waitFor();
  assert.match(await page.getByRole('alert').textContent(), /5 were expected: nothing was done/);
});

check('17 bulk: a calendar day is sent again to one endpoint with four clicks from the overview', async (on) => {
  await on.newStage({ tenants });
  const delivered = async (n) => until(`${n} are delivered`, async () => (await on.do('received', { endpoint: 'orders' })).new === n);
  await on.do('push', { updates: ['1', '2', '3'].map((waybill) => ({ waybill })) });
  await delivered(3);
  const { body: { events } } = await on.api('/events');
  const day = new Date(Date.parse(events[0].accepted_at) + 8 * 3600_000).toISOString().slice(0, 10); // in Shanghai
  await on.do('clock', { Minutes: 24 * 60 });
  await on.do('push', { updates: [{ waybill: 'LATER' }] });
  await delivered(4);

  const page = await on.open('/', { as: 'operator' });
  let clicks = 0;
  const click = async (what) => {
    clicks += 1;
    await what.click();
  };
  await click(page.locator('#endpoints').getByRole('link', { name: 'shop/orders' }));
  await click(page.getByRole('link', { name: 'Replay…' }));
  await page.getByLabel('or one day').fill(day);
  await click(page.getByRole('button', { name: 'Count first' }));
  await click(page.getByRole('button', { name: 'Send 3 again' }));
  await until('the receiver has that day again', async () => (await got(on, 'replay')) === 3);
  assert.equal(clicks, 4);
  const { body } = await on.api(`/replays/${page.url().match(/rpl_\w+/)[0]}`);
  assert.equal(body.request.since, new Date(`${day}T00:00:00+08:00`).toISOString().replace('.000', ''));
  assert.ok(Date.parse(body.request.until) - Date.parse(body.request.since) <= 24 * 3600_000, body.request.until);
});

check('17 bulk: the dead letters of a chosen endpoint, and its test, in a dialog', async (on) => {
  await clear(on);
  await on.do('refused', { Count: 3, From: 400000 });
  await isDead(on, 3);
  await on.do('answer', { endpoint: 'orders', Status: 200 });
  const page = await on.open('/endpoints', { as: 'operator' });
  await page.getByRole('checkbox', { name: 'Select shop/orders' }).check();
  await page.getByRole('button', { name: 'Send dead letters again…' }).click();
  const question = page.getByRole('dialog', { name: 'Send 3 dead letters of 1 endpoint again?' });
  await on.shot(page, '17 question about endpoints');
  await question.getByRole('link', { name: 'Back' }).click();
  await question.waitFor({ state: 'detached' });
  assert.equal(await dead(on), 3);
  await page.getByRole('button', { name: 'Send dead letters again…' }).click();
  await question.getByRole('button', { name: 'Send 3 again' }).click();
  await page.getByText('Dead letters that are sent again: 3.').waitFor();
  assert.equal(await dead(on), 0);

  // A test shows what came of it where it was asked for, once for a double click; and so what went wrong.
  await page.goto(`${on.base('operator')}/endpoints/shop/orders`);
  await page.getByRole('link', { name: 'Send a test' }).click();
  const dialog = page.getByRole('dialog', { name: 'Send a test to shop/orders' });
  const before = await tests(on);
  await dialog.getByRole('button', { name: 'Send a test' }).dblclick();
  await dialog.getByText('The endpoint took the test event.').waitFor();
  assert.equal(await tests(on), before + 1);
  await page.route('**/test?part=main', (route) => route.fulfill({ status: 429, body: 'wait for 7 s' }), { times: 1 });
  on.allow(/answers 429/);
  await dialog.getByRole('button', { name: 'Send another' }).click();
  await dialog.getByText('wait for 7 s').waitFor();
  await on.shot(page, '17 test that failed');
  await dialog.getByRole('button', { name: 'Send another' }).click();
  await dialog.getByText('wait for 7 s').waitFor({ state: 'detached' });
  assert.equal(await tests(on), before + 2);
});

check('17 bulk: the page of an endpoint asks before its dead letters are sent again, and says what was done once', async (on) => {
  await clear(on);
  await on.do('refused', { Count: 3, From: 400000 });
  await isDead(on, 3);
  await on.do('answer', { endpoint: 'orders', Status: 200 });
  const page = await on.open('/endpoints/shop/orders', { as: 'operator' });
  await page.getByRole('link', { name: 'Send 3 again…' }).click();
  const dialog = page.locator('dialog[open]');
  await dialog.getByRole('button', { name: 'Send 3 again', exact: true }).click();
  await dialog.getByText('3 of 3 are queued again.').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await dead(on), 0);

  await page.locator('form[action$="/pause"] button').click();
  await page.getByText('shop/orders is paused. Resume undoes this.').waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('shop/orders is resumed.').waitFor();
  await page.goBack();
  await page.locator('#head').waitFor();
  assert.equal(await page.locator('.note').count(), 0, 'going back says it once more');
});
