import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const often = `[${'100ms, '.repeat(400)}1h]`;
const endpoint = (name, more = '') => `      - {name: ${name}, url: 'RECEIVER/${name}', secrets: [${secret}]${more}}`;

stage({
  relays: 2,
  tenants: `
callback: {tokens: [callback-token-of-the-stage], silence: 2h}
kuaidihelp: {api_url: 'RECEIVER/provider', app_id: '1', api_key: the-key-of-the-stage}
tenants:
  - name: shop
    api_keys: [shop-key-of-the-stage]
    endpoints:
${endpoint('failing', `, retry: ${often}, breaker: {failures: 0}`)}
${endpoint('broken', `, retry: ${often}, breaker: {failures: 1, cool_off: 1s}`)}
${endpoint('gone')}
${endpoint('refusing', ', retry: [20ms, 20ms, 20ms, 20ms]')}
${endpoint('quiet', ', retry: [200h], max_age: 400h')}
    routes:
      - {to: [failing, broken, gone, refusing, quiet], match: {status: [collected, signed, sending]}}
      - {to: failing, when: 'event.waybill_code == "none" || event.data.nothing.like_it == 1'}
  - name: crm
    api_keys: [crm-key-of-the-stage]
    endpoints:
${endpoint('sync')}
    routes: [{to: sync}]
`,
});

// soon is how long a problem may take until it is on an open overview, and until it has gone: 10 s. A machine that does
// much besides gets more.
const soon = 60_000;

const row = (page, code) => page.locator(`[data-problem="${code}"]`).first();

// appear waits for problems on an open overview. Each says since when, why, and what to do, and its first link leads to
// a page about its subject.
async function appear(page, problems) {
  for (const [code, want] of Object.entries(problems)) {
    const li = row(page, code);
    await li.waitFor({ timeout: soon }).catch(() => { throw new Error(`${code} does not appear`); });
    const text = await li.innerText();
    if (want.why) assert.match(text, want.why, code);
    assert.match(text, /What to do: \S+/, code);
    if (want.since !== false) assert.equal(await li.locator('time').count() > 0, true, `${code} says since when`);
    const links = await li.locator('.acts a').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
    if (want.link) {
      assert.ok(links.some((l) => l.startsWith(want.link)), `${code} leads to ${links}, not to ${want.link}`);
      const there = await page.context().newPage();
      const answer = await there.goto(new URL(links.find((l) => l.startsWith(want.link)), page.url()).href);
      assert.equal(answer.status(), 200, `${code}: ${want.link}`);
      await there.close();
    }
  }
}

async function go(page, problems) {
  for (const code of Object.keys(problems)) {
    await row(page, code).waitFor({ state: 'detached', timeout: soon }).catch(() => { throw new Error(`${code} does not go`); });
  }
}

const update = (waybill, status = 'collected') => ({ waybill, status });

check('08 overview: one sentence says that all is well', async (on) => {
  await on.do('push', { updates: [update('1')] });
  await until('all is delivered', async () => (await on.api('/status')).body.open === 0);
  const page = await on.open('/', { as: 'crm' });
  await page.getByRole('heading', { level: 1, name: /^All is well/ }).waitFor();
  assert.equal(await page.locator('[data-problem]').count(), 0);
  await until('it has its figures', async () => /All is well: \S+ deliveries a minute, each within .+ \(p95\)/.test(
    await page.locator('h1').innerText()));
  await on.shot(page, '08-overview-well');
});

check('08 overview: problems of the config and the account appear with their cause, and go', async (on) => {
  const page = await on.open('/', { as: 'operator' });
  const refused = { config_refused: { why: /nonsense/, link: '/config' } };
  const account = { credentials_refused: { why: /app_id/ } };
  const { text } = await on.do('config', { append: '\nnonsense: 1\n' });
  await on.do('answer', { endpoint: 'provider', body: '{"code":1004,"msg":"bad sign","data":"","uid":"1"}' });
  const got = await on.api('/subscriptions', { as: 'shop', method: 'POST', body: { cp_code: 'zt', waybill_codes: ['777005949070187'] } });
  assert.ok(got.status >= 400, `subscribed: ${JSON.stringify(got)}`);
  await appear(page, { ...refused, ...account });
  await on.do('config', { text: text.replace('nonsense: 1', '').replace('the-key-of-the-stage', 'another-key-of-the-stage') });
  await on.do('answer', { endpoint: 'provider', body: '{"code":0,"msg":"success","data":{},"uid":"1"}' });
  await on.api('/subscriptions', { as: 'shop', method: 'POST', body: { cp_code: 'zt', waybill_codes: ['777005949070188'] } });
  await go(page, { ...refused, ...account });
});
