import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';

// Names of the other tenant that no text of a page has by itself.
stage({
  tenants: `
tenants:
  - name: shop
    api_keys: [shop-key-of-the-stage]
    endpoints:
      - {name: orders, url: 'RECEIVER/orders', secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1ms, 1ms]}
    routes:
      - {to: orders, match: {cp_code: zt}}
  - name: quagga
    api_keys: [{key: crm-key-of-the-stage, name: zorilla}]
    endpoints:
      - {name: okapi, url: 'RECEIVER/dikdik', secrets: [whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw], retry: [1ms, 1ms]}
    routes:
      - {to: okapi, match: {cp_code: sf}}
`,
});

const theirs = 1613; // events, deliveries and dead letters of quagga
const waybill = '888000777';
const words = /quagga|okapi|dikdik|zorilla|gerenuk|888000777|1,?613/i;

// kind of a link: links of a kind differ in what they name only, and three of each are enough.
function kindOf(link) {
  const path = link.pathname.replace(/[0-9a-f]{12,}|\d{6,}/g, '…');
  return `${path}?${[...link.searchParams.keys()].sort()}`;
}

const mostOfAKind = 3;

let ready; // once for both checks

function setUp(on) {
  ready ??= push(on);
  return ready;
}

async function push(on) {
  await on.do('answer', { endpoint: 'orders', status: 422, body: 'no' });
  await on.do('answer', { endpoint: 'dikdik', status: 422, body: 'gerenuk' });
  await on.do('push', { updates: [{ waybill: '777000111' }, { waybill: '777000222', status: 'question' }] });
  const many = Array.from({ length: theirs }, (_, i) => ({ waybill: `${waybill}${i}`, brand: 'sf' }));
  await on.do('push', { updates: many, together: true });
  await until(
    'shop has its dead letters',
    async () => (await on.api('/dead-letters', { as: 'shop' })).body.dead_letters.length === 2,
  );
  await until(
    'quagga has dead letters',
    async () => (await on.api('/dead-letters', { as: 'crm' })).body.dead_letters.length > 10,
  );
  await on.api('/endpoints/okapi/pause', { as: 'crm', method: 'POST' });
}

async function references(page) {
  return page.evaluate(() => ({
    links: [...document.querySelectorAll('a[href]')].map((a) => a.href),
    files: [...document.querySelectorAll('a[download]')].map((a) => a.href),
    forms: [...document.forms].map((f) => ({
      action: f.getAttribute('action') ?? location.pathname,
      method: f.method,
    })),
    text: `${document.documentElement.outerHTML} ${document.title}`,
  }));
}

check('06 scope: a tenant walks every link and form, and meets nothing of another', async (on) => {
  await setUp(on);
  on.allow(/answers 4\d\d/);
  const base = on.base('shop');
  const page = await on.open('/', { as: 'shop' });
  const seen = new Map();
  const sent = new Set();
  const todo = [`${base}/`];
  const description = `${on.relays[0].public}/v1/openapi.json`;
  assert.doesNotMatch(await (await fetch(description)).text(), words);
  const look = async (where) => {
    const got = await references(page);
    const found = words.exec(got.text);
    const around = found ? got.text.slice(Math.max(0, found.index - 100), found.index + 100) : '';
    assert.ok(!found, `${where} has ${found?.[0]}: …${around}…`);
    return got;
  };

  const files = new Set(); // links that a browser saves
  const read = new Set(); // links of a kind that was opened already: they are only read
  while (todo.length) {
    const link = todo.shift();
    if (files.has(link) || read.has(link)) {
      const file = await page.request.get(link);
      assert.ok(file.status() < 400, `${link} answers ${file.status()}`);
      assert.doesNotMatch(await file.text(), words, link);
      continue;
    }
    const answer = await page.goto(link);
    assert.ok(answer.status() < 400, `${link} answers ${answer.status()}`);
    const got = await look(link);
    for (const file of got.files) files.add(file);
    for (const next of got.links) {
      const url = new URL(next);
      url.hash = '';
      if (next === description) continue; // of the API: it is the same for everybody
      assert.ok(next.startsWith(`${base}/`), `${link} leads to ${next}`);
      if (url.searchParams.has('lang') || url.searchParams.has('tz')) continue;
      const kind = kindOf(url);
      if ((seen.get(kind) ?? 0) >= mostOfAKind || todo.includes(url.href)) continue;
      if (seen.has(kind)) read.add(url.href);
      seen.set(kind, (seen.get(kind) ?? 0) + 1);
      todo.push(url.href);
    }

    // Each form once, as it stands there.
    for (const [i, form] of got.forms.entries()) {
      const kind = `${form.method} ${kindOf(new URL(form.action, link))}`;
      if (sent.has(kind) || form.action.endsWith('/logout')) continue;
      sent.add(kind);
      await page.goto(link);
      const [sentTo] = await Promise.all([
        page.waitForNavigation(),
        page.evaluate(
          ([n, action]) => {
            const all = [...document.forms];
            (all.find((f) => f.getAttribute('action') === action) ?? all[n]).submit();
          },
          [i, form.action],
        ),
      ]);
      assert.ok(sentTo.status() < 500, `the form ${form.action} of ${link} is answered ${sentTo.status()}`);
      await look(`the form ${form.action} of ${link}`);
    }
  }
  console.error(`# ${[...seen.values()].reduce((a, b) => a + b)} links of ${seen.size} kinds, ${sent.size} forms`);
  assert.ok(seen.size >= 10, `only ${seen.size} kinds of links were found`);
  assert.ok(files.size >= 3, `only these files were found: ${[...files]}`);
  assert.ok(sent.size >= 3, `only these forms were found: ${[...sent]}`);
});

check('06 scope: what belongs to another is not there', async (on) => {
  await setUp(on);
  const { body } = await on.api('/events', { as: 'crm' });
  const id = body.events[0].id;
  const base = on.base('shop');
  const page = await on.open('/', { as: 'shop' });
  const replay = (
    await on.api('/replays', {
      as: 'crm',
      method: 'POST',
      body: {
        since: '2020-01-01T00:00:00Z',
        to: ['okapi'],
        endpoint: 'okapi',
      },
    })
  ).body.id;
  for (const path of [
    `/event?id=${id}`,
    '/endpoints/quagga/okapi',
    '/quarantine',
    '/system',
    `/replays/${replay ?? 'rep_1'}`,
  ]) {
    const answer = await page.goto(base + path);
    assert.equal(answer.status(), 404, path);
    assert.doesNotMatch(await page.locator('main').innerText(), /dikdik|zorilla|gerenuk|1,?613/i, path);
  }

  // What is searched for is repeated, and nothing is said of it that another knows.
  for (const path of [
    `/find?q=${id}`,
    `/find?q=${waybill}7`,
    `/waybill?code=${waybill}7`,
    '/find?q=okapi',
    '/find?q=quagga/okapi',
    '/events?endpoint=quagga/okapi',
    '/dead-letters?endpoint=quagga/okapi',
    `/events?waybill_code=${waybill}7`,
    '/events?brand=sf',
  ]) {
    await page.goto(base + path);
    assert.equal(await page.locator('[data-event]').count(), 0, path);
    assert.doesNotMatch(await page.locator('main').innerText(), /dikdik|zorilla|gerenuk|1,?613/i, path);
  }

  // Nor can it be touched.
  on.allow(/answers 4\d\d/);
  const acts = [
    ['/endpoints/quagga/okapi/resume', {}],
    ['/endpoints/quagga/okapi/test', {}],
    ['/dead-letters/redrive', { event_id: id, endpoint: 'quagga/okapi' }],
    ['/dead-letters/dismiss', { event_id: id, endpoint: 'quagga/okapi' }],
    ['/event/resend', { event_id: id, endpoint: 'quagga/okapi' }],
    ['/config/reload', {}],
    ['/quarantine/replay', {}],
  ];
  const before = (await on.do('got', { endpoint: 'dikdik' })).length;
  for (const [path, fields] of acts) {
    const status = await page.evaluate(
      async ([url, form]) => (await fetch(url, { method: 'POST', body: new URLSearchParams(form) })).status,
      [base + path, fields],
    );
    assert.ok(status >= 400 && status < 500, `${path} answers ${status}`);
  }
  assert.equal((await on.api('/endpoints/okapi', { as: 'crm' })).body.state, 'paused');
  assert.equal((await on.do('got', { endpoint: 'dikdik' })).length, before, 'nothing was sent');
});
