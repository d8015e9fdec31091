// What the checks of how pages look and read share: a relay that has seen something of everything, and all its pages.
import { until } from './play.js';

// endpoint is one in the config, with a secret of its own.
const endpoint = (name, more = '') => {
  const secret = `whsec_${Buffer.from(`the secret of ${name}`.padEnd(24)).toString('base64')}`;
  return `      - {name: ${name}, url: 'RECEIVER/${name}', secrets: ['${secret}']${more}}`;
};

// tenants has an endpoint in each state that comes about quickly.
export const tenants = `
delivery: {retry: [1ms, 1ms, 1ms, 1ms], breaker: {failures: 3, cool_off: 1h, max_cool_off: 1h}}
tenants:
  - name: shop
    api_keys: [{key: shop-key-of-the-stage, name: backend}]
    endpoints:
${endpoint('orders')}
${endpoint('signed', ', breaker: {failures: 0}')}
${endpoint('alerts', ', retry: [1ms, 1h, 1h, 1h, 1h], breaker: {failures: 0}')}
${endpoint('stock', ', retry: [1ms, 1ms, 1ms, 1ms, 1h]')}
${endpoint('archive')}
${endpoint('nightly')}
    routes:
      - {to: orders}
      - {to: signed, match: {status: signed}}
      - {to: alerts, match: {status: [question, allograph]}}
      - {to: stock, match: {status: sending}}
      - {to: archive, match: {cp_code: sto}}
  - name: crm
    api_keys: [crm-key-of-the-stage]
    endpoints:
${endpoint('sync')}
${endpoint('gone')}
    routes:
      - {to: sync, match: {status: signed, subscribed: true}}
      - {to: gone, match: {status: delivering}}
`;

const brands = ['zt', 'sto', 'jt', 'yd'];
const waybillOf = (i) => `77700594907018${i}`;

let seeded; // of this file's stage

// seed has had parcels on their way, one refused, one retried, some waiting, an endpoint paused, one gone, one with an
// open breaker; subscriptions, a replay, and something in quarantine. It gives ids of what there is.
export function seed(on) {
  seeded ??= fill(on);
  return seeded;
}

async function fill(on) {
  await on.do('provider', { Unknown: ['777005949070199'] });
  await on.do('answer', { endpoint: 'signed', status: 422, body: '{"error":"unknown status \\"signed\\""}' });
  const page503 = '<html><head><title>503 Service Temporarily Unavailable</title></head>';
  await on.do('answer', { endpoint: 'alerts', status: 503, body: page503 });
  await on.do('answer', { endpoint: 'stock', status: 502 });
  await on.do('answer', { endpoint: 'gone', status: 410, body: 'gone' });
  await on.api('/endpoints/shop/archive/pause', { method: 'POST' });
  for (const [code, waybills] of [
    ['zt', [waybillOf(0), waybillOf(9)]],
    ['jt', [waybillOf(2)]],
  ]) {
    await on.api('/subscriptions', { as: 'shop', method: 'POST', body: { cp_code: code, waybill_codes: waybills } });
  }
  await push(on);
  return known(on);
}

async function push(on) {
  const updates = [];
  for (const [i, brand] of brands.entries()) {
    for (const status of ['collected', 'sending', 'delivering', i % 2 ? 'question' : 'signed']) {
      updates.push({
        waybill: waybillOf(i),
        brand,
        status,
        context: '【上海市】快件已从转运中心发出',
        time: `2026-01-05 0${updates.length % 9}:10:00`,
      });
    }
  }
  await on.do('push', { updates });
  const strange = ['{"type":"express_sub_msg","data":[{"status":"signed"}]}', '{"type":7}'];
  await on.do('push', { updates: updates.slice(0, 1), bodies: strange });
}

// known waits until all that was pushed has come to rest.
async function known(on) {
  const first = async (path, list) => (await on.api(path)).body[list]?.[0];
  const dead = await until('there is a dead letter', () => first('/dead-letters?endpoint=shop/signed', 'dead_letters'));
  const waiting = await until('a delivery is retried', () => first('/events?endpoint=shop/alerts', 'events'));
  const quarantined = await until('something is in quarantine', () => first('/quarantine', 'quarantined'));
  const counted = { endpoint: 'shop/orders', dry_run: true };
  const replay = (await on.api('/replays', { method: 'POST', body: counted })).body;
  await until('the replay is done', async () => (await on.api(`/replays/${replay.id}`)).body.state === 'done');
  await until('the states are known', async () => {
    const { states, dead: n } = (await on.api('/status')).body;
    return states.open >= 1 && states.gone >= 1 && states.paused >= 1 && states.failing >= 1 && n >= 1;
  });
  return {
    event: dead.event_id,
    retried: waiting.id,
    waybill: dead.waybill_code,
    quarantined: quarantined.id,
    replay: replay.id,
  };
}

// pagesOf are the pages of somebody with what a path needs, by name.
export async function pagesOf(on, as) {
  const ids = await seed(on);
  const all = {
    overview: '/',
    events: '/events',
    filtered: '/events?status=signed&since=1h&state=dead',
    event: `/event?id=${ids.event}`,
    retried: `/event?id=${ids.retried}`,
    request: `/event/request?id=${ids.event}&endpoint=shop%2Fsigned`,
    waybill: `/waybill?code=${ids.waybill}`,
    nothing: '/waybill?code=999900001111',
    find: `/find?q=${encodeURIComponent([ids.waybill, ids.event, 'shop/orders', '999900001111'].join('\n'))}`,
    endpoints: '/endpoints',
    endpoint: '/endpoints/shop/alerts',
    breaker: '/endpoints/shop/stock',
    healthy: '/endpoints/shop/orders',
    test: '/endpoints/shop/orders/test',
    dead: '/dead-letters',
    sure: '/dead-letters/sure?act=redrive',
    replays: '/replays',
    'new-replay': '/replays/new',
    replay: `/replays/${ids.replay}`,
    subscriptions: '/subscriptions',
    routes: '/routes',
    tested: `/routes?of=${ids.event}`,
    config: '/config',
    help: '/help',
    missing: '/there-is-no-such-page',
  };
  if (as === 'operator') {
    Object.assign(all, {
      gone: '/endpoints/crm/gone',
      resume: '/endpoints/crm/gone/resume',
      subscribed: '/subscriptions?tenant=shop',
      quarantine: '/quarantine',
      quarantined: `/quarantine?id=${ids.quarantined}`,
      system: '/system',
    });
  }
  return all;
}

// visitAll opens pages one after another in one context, and calls look with each. pages are those that are meant, by
// name; without it all of them are. More options are a context's.
export async function visitAll(on, as, { pages, ...options }, look) {
  const page = await (await on.context({ as, ...options })).newPage();
  for (const [name, path] of Object.entries(pages ?? (await pagesOf(on, as)))) {
    await page.goto(on.base(as) + path);
    await look(page, name);
  }
  return page;
}

// none fails unless nothing was found on any page: found are lists by page.
export function none(found) {
  const all = Object.entries(found).map(([name, list]) => `${name}:\n  ${list.join('\n  ')}`);
  if (all.length) throw new Error(`${all.length} pages are not as they should be\n${all.join('\n')}`);
}
