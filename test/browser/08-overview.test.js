import assert from 'node:assert/strict';
import { check, stage, until, logIn } from './play.js';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const often = `[${'100ms, '.repeat(400)}1h]`;
const endpoint = (name, more = '') => `      - {name: ${name}, url: 'RECEIVER/${name}', secrets: [${secret}]${more}}`;

stage({
  relays: 2,
  tenants: `
callback: {tokens: [callback-token-of-the-stage], silence: 18m}
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

// soon is how long a problem may take from its cause until it is on an open overview.
const soon = 10_000;

const row = (page, code) => page.locator(`#problems [data-problem="${code}"]`).first();

// took says how long each took, for the log of the run.
const took = (what, from, codes) => console.error(`# ${what} after ${((Date.now() - from) / 1000).toFixed(1)} s: ${codes}`);

// appear waits for problems on an open overview, which began at from. Each says since when, why, and what to do, and
// has a link to the page that shows it.
async function appear(page, from, problems) {
  for (const code of Object.keys(problems)) {
    await row(page, code).waitFor({ timeout: Math.max(1, from + soon - Date.now()) })
      .catch(() => { throw new Error(`${code} does not appear within ${soon / 1000} s`); });
  }
  took('there', from, Object.keys(problems));

  for (const [code, want] of Object.entries(problems)) {
    const li = row(page, code);
    const text = await li.innerText();
    assert.match(text, want.why, code);
    assert.match(text, /What to do: \S+/, code);
    assert.equal(await li.locator('.since time').count(), want.since === false ? 0 : 1, `${code} says since when`);
    if (!want.link) continue;
    const links = await li.locator('.acts a').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
    assert.equal(links[0], want.link, `${code} leads to ${links}`);
    const there = await page.context().newPage();
    const answer = await there.goto(new URL(links[0], page.url()).href);
    assert.equal(answer.status(), 200, `${code}: ${want.link}`);
    assert.match(await there.locator('main').innerText(), want.there, `${code}: ${want.link} shows it`);
    await there.close();
  }
}

async function go(page, problems) {
  const from = Date.now();
  for (const code of Object.keys(problems)) {
    await row(page, code).waitFor({ state: 'detached' }).catch(() => { throw new Error(`${code} does not go`); });
  }
  took('gone', from, Object.keys(problems));
}

const update = (waybill, status = 'collected') => ({ waybill, status });

// again logs in after a time in which the session has ended.
async function again(page, on) {
  await page.goto(`${on.base('operator')}/login`);
  await logIn(page, on.keys.operator);
  await page.waitForURL(`${on.base('operator')}/`);
}

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

check('08 overview: problems of endpoints appear with their cause, and go when they are mended', async (on) => {
  const page = await on.open('/', { as: 'operator' });
  const problems = {
    breaker_open: { why: /503/, link: '/endpoints/shop/broken', there: /breaker open/i },
    endpoint_gone: { why: /410/, link: '/endpoints/shop/gone', there: /gone/i },
    endpoint_fails: { why: /500/, link: '/endpoints/shop/failing', there: /failing/i },
    dead_letters_rising: { why: /422/, link: '/dead-letters?endpoint=shop/refusing', there: /1 dead letter/ },
    when_fails: { why: /failed \d+ times/i, link: '/routes', there: /Who gets it/i },
    quarantine_rising: { why: /kuaidihelp sends what/i, link: '/quarantine', there: /qtn_|JSON|form/i },
  };
  for (const [name, status] of [['broken', 503], ['gone', 410], ['failing', 500], ['refusing', 422]]) {
    await on.do('answer', { endpoint: name, status, body: 'no' });
  }
  const from = Date.now();
  await on.do('push', { updates: [update('2')] });
  await on.do('push', { bodies: ['what nobody understands'], type: 'text/plain' });
  await appear(page, from, problems);
  await page.getByRole('heading', { level: 1, name: /things need you. Everything accepted is safe/ }).waitFor();
  await on.shot(page, '08-overview-problems');

  // A tenant is told of its own, and not of what is the operator's.
  const shop = await on.open('/', { as: 'shop' });
  await row(shop, 'endpoint_gone').waitFor();
  assert.equal(await row(shop, 'quarantine_rising').count(), 0);

  // The acts are there: pause from the overview, and resume after a question.
  await row(page, 'endpoint_fails').getByRole('button', { name: 'Pause' }).click();
  await until('it is paused', async () => (await on.api('/endpoints/shop/failing')).body.state === 'paused');
  for (const name of ['broken', 'gone', 'failing', 'refusing']) await on.do('answer', { endpoint: name, status: 200 });
  await row(page, 'endpoint_gone').getByRole('link', { name: 'Resume…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Resume' }).click();
  await until('it is resumed', async () => (await on.api('/endpoints/shop/gone')).body.state !== 'gone');
  for (const name of ['broken', 'failing']) await on.api(`/endpoints/shop/${name}/resume`, { method: 'POST' });
  await on.api('/dead-letters/redrive', { method: 'POST', body: { all: true } });
  const { body } = await on.api('/quarantine');
  await on.api('/quarantine/dismiss', { method: 'POST', body: { ids: body.quarantined.map((q) => q.id) } });
  await on.do('config', { replace: [' || event.data.nothing.like_it == 1', ''] });
  await page.goto(on.base('operator'));
  await go(page, problems);
});

check('08 overview: problems of the config and the account appear with their cause, and go', async (on) => {
  const page = await on.open('/', { as: 'operator' });
  const problems = {
    config_refused: { why: /nonsense/, link: '/config', there: /unknown key "nonsense"/ },
    credentials_refused: { why: /app_id/, link: '/subscriptions', there: /refused|refuses/i },
  };
  await on.do('answer', { endpoint: 'provider', body: '{"code":1004,"msg":"bad sign","data":"","uid":"1"}' });
  const from = Date.now();
  const { text } = await on.do('config', { append: '\nnonsense: 1\n' });
  const got = await on.api('/subscriptions', { as: 'shop', method: 'POST', body: { cp_code: 'zt', waybill_codes: ['777005949070187'] } });
  assert.ok(got.status >= 400, `subscribed: ${JSON.stringify(got)}`);
  await appear(page, from, problems);
  await on.do('config', { text: text.replace('nonsense: 1', '').replace('the-key-of-the-stage', 'another-key-of-the-stage') });
  await on.do('answer', { endpoint: 'provider', body: '{"code":0,"msg":"success","data":{},"uid":"1"}' });
  await on.api('/subscriptions', { as: 'shop', method: 'POST', body: { cp_code: 'zt', waybill_codes: ['777005949070188'] } });
  await go(page, problems);
});

check('08 overview: problems of Redis and the spool appear with their cause, and go', async (on) => {
  on.allow(/answers 503|Failed to load|ERR_CONNECTION|ERR_EMPTY/);
  const page = await on.open('/', { as: 'operator' });
  const full = {
    spool_failing: { why: /spool is/i, link: '/system', there: /spool/i },
    redis_full: { why: /full/, link: '/system', there: /full/ },
  };
  let from = Date.now();
  await on.do('spool', { do: 'break' });
  await on.do('redis', { command: ['CONFIG', 'SET', 'maxmemory', '1'] });
  await on.do('push', { relay: 1, updates: [update('3')] });
  await on.do('push', { updates: [update('4')] });
  await appear(page, from, full);
  await on.do('spool', { do: 'mend' });
  await on.do('redis', { command: ['CONFIG', 'SET', 'maxmemory', '0'] });
  await go(page, full);

  const down = { redis_down: { why: /is down/, link: '/system', there: /down/ }, incomplete: { why: /Redis|redis/, since: false } };
  from = Date.now();
  await on.do('redis', { do: 'stop' });
  await appear(page, from, down);
  await on.do('redis', { do: 'start' });
  await go(page, down);

  const advice = { redis_advice: { why: /appendonly/i, link: '/system', there: /appendonly/ } };
  from = Date.now();
  await on.do('redis', { command: ['CONFIG', 'SET', 'appendonly', 'no'] });
  await appear(page, from, advice);
  await on.do('redis', { command: ['CONFIG', 'SET', 'appendonly', 'yes'] });
  await go(page, advice);

  const short = { spool_nearly_full: { why: /MiB more/i, link: '/system', there: /spool/i } };
  await on.do('spool', { do: 'large' });
  await page.goto(on.base('operator'));
  await appear(page, Date.now(), short);
  await on.do('spool', { do: 'small' });
  await page.goto(on.base('operator'));
  await go(page, short);
});

check('08 overview: problems that take time appear with their cause, and go', async (on) => {
  const page = await on.open('/', { as: 'operator' });
  await on.do('answer', { endpoint: 'quiet', status: 503 });
  await on.do('answer', { endpoint: 'provider', hang: true });
  await on.do('push', { updates: [update('6')] });
  await until('its first attempt has failed', async () => (await on.api('/endpoints/shop/quiet')).body.last_error);
  const asked = on.api('/subscriptions', { as: 'shop', method: 'POST', body: { cp_code: 'zt', waybill_codes: ['777005949070189'] } });
  await until('it is written down what is unfinished', async () => (
    await on.api('/subscriptions/summary')).body.tenants.some((t) => t.states.pending > 0));
  await until('the status knows it', async () => (await on.api('/status')).body.open > 0);

  const problems = {
    gets_nothing: { why: /no attempt fails|now and then/i, link: '/endpoints/shop/quiet', there: /503/ },
    subscriptions_unfinished: { why: /does not answer/i, link: '/subscriptions', there: /shop/ },
    provider_silent: { why: /the latest came/i, link: '/system', there: /silen/i },
  };
  const from = Date.now();
  await on.do('clock', { minutes: 20 });
  await appear(page, from, problems);

  await on.do('answer', { endpoint: 'quiet', status: 200 });
  await on.do('answer', { endpoint: 'provider', body: '{"code":0,"msg":"success","data":{},"uid":"1"}' });
  await asked;
  await on.api('/endpoints/shop/quiet/retry', { method: 'POST', body: { all: true } });
  await on.do('push', { updates: [update('7')] });
  await go(page, problems);
});

check('08 overview: replicas with different configs are a problem after a minute, which goes', async (on) => {
  await on.newStage({ relays: 2 });
  const page = await on.open('/', { as: 'operator' });
  const serves = async () => (await on.api('/system')).body.replicas.map((r) => r.config.fingerprint);
  const differ = () => until('both have said what they serve', async () => {
    const all = await serves();
    return all.length === 2 && all[0] !== all[1];
  });
  await until('both serve the same', async () => {
    const all = await serves();
    return all.length === 2 && all[0] === all[1];
  });
  await on.do('config', { append: '\n# differs\n', only: { relay: 1 } });
  await differ();
  // A replica that was not heard of for a minute counts as gone: the minute passes in two steps.
  await on.do('clock', { seconds: 35 });
  await until('both were heard of again', async () => (
    await on.api('/system')).body.replicas.every((r) => Date.parse(r.seen_at) > Date.now() + 20_000));
  const from = Date.now();
  await on.do('clock', { seconds: 30 });
  const problems = { configs_differ: { why: /serves/i, link: '/system', there: /replica/i } };
  await appear(page, from, problems);
  await on.do('config', { replace: ['# differs', '# the same'] });
  await go(page, problems);
});

// A tenant with one endpoint that gets everything.
const one = `
tenants:
  - name: shop
    api_keys: [shop-key-of-the-stage]
    endpoints:
${endpoint('quiet', ', retry: [200h], max_age: 400h')}
    routes: [{to: quiet}]
  - name: crm
    api_keys: [crm-key-of-the-stage]
`;

check('08 overview: a backlog of six hours appears with its cause, and goes', async (on) => {
  await on.newStage({ relays: 1, tenants: one });
  const page = await on.open('/', { as: 'operator' });
  await on.do('answer', { endpoint: 'quiet', status: 503 });
  await on.do('push', { updates: [update('8')] });
  await until('its first attempt has failed', async () => (await on.api('/endpoints/shop/quiet')).body.last_error);
  await on.do('answer', { endpoint: 'quiet', status: 200 });
  on.allow(/answers 401/);
  await on.do('clock', { minutes: 6 * 60 + 5 });
  await again(page, on);
  const from = Date.now();
  await on.do('push', { updates: [update('9')] });
  const backlog = { backlog_old: { why: /longer than 6 hours/, link: '/endpoints/shop/quiet', there: /503/ } };
  await appear(page, from, backlog);
  await on.api('/endpoints/shop/quiet/retry', { method: 'POST', body: { all: true } });
  await go(page, backlog);
});

check('08 overview: a wrong clock appears with its cause, and goes', async (on) => {
  await on.newStage({ relays: 1, tenants: one });
  const page = await on.open('/', { as: 'operator' });
  on.allow(/ERR_CONNECTION|ERR_EMPTY/);
  const set = async (minutes) => {
    await on.do('relay', { do: 'stop' });
    await on.do('clock', { minutes });
    await on.do('relay', { do: 'start' });
    return Date.now();
  };
  const clock = { clock_differs: { why: /differ by/, link: '/system', there: /differ by/ } };
  await appear(page, await set(5), clock);
  await set(-5);
  await go(page, clock);
});
