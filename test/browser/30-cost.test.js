import assert from 'node:assert/strict';
import { check, stage, until } from './play.js';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

// many is a config with so many endpoints, of which the first ten get everything.
function many(n) {
  const endpoints = Array.from({ length: n }, (_, i) => `      - {name: e${i}, url: 'RECEIVER/e${i}', secrets: [${secret}]}`);
  const first = Array.from({ length: Math.min(n, 10) }, (_, i) => `e${i}`);
  return `
tenants:
  - name: shop
    api_keys: [shop-key-of-the-stage]
    endpoints:
${endpoints.join('\n')}
    routes: [{to: [${first.join(', ')}]}]
  - name: crm
    api_keys: [crm-key-of-the-stage]
`;
}

stage({ relays: 1, tenants: many(46) });

const sleep = (ms) => new Promise((done) => { setTimeout(done, ms); });

// viewer asks for a page again and again, as live.js does.
async function viewer(on, cookie, path, pace, watched) {
  let tag;
  while (!watched.over) {
    const answer = await fetch(`${on.base('operator')}${path}`, {
      headers: { cookie: `${cookie.name}=${cookie.value}`, ...(tag ? { 'if-none-match': tag } : {}) },
    });
    assert.ok([200, 304].includes(answer.status), `${path}: ${answer.status}`);
    await answer.text();
    tag = answer.headers.get('etag') ?? tag;
    watched.asked += 1;
    await sleep(Math.max(pace, 1000 * Number(answer.headers.get('x-poll'))));
  }
}

// rate is how many commands Redis does in a second, over some seconds.
async function rate(on, seconds) {
  const [before, began] = [await on.do('commands'), Date.now()];
  await sleep(seconds * 1000);
  return (await on.do('commands') - before) / (Date.now() - began) * 1000;
}

async function watch(on, seconds) {
  const cookie = await on.stage.session('operator', on.base('operator'));
  const watched = { over: false, asked: 0 };
  const viewers = Array.from({ length: 20 }, (_, i) => (i % 2 ?
    viewer(on, cookie, '/events?part=main', 2000, watched) : viewer(on, cookie, '/?part=main', 5000, watched)));
  await until('each has its page', async () => watched.asked >= 20);
  const got = await rate(on, seconds);
  watched.over = true;
  await Promise.all(viewers);
  return { got, asked: watched.asked };
}

// settled waits until the relay has written down what it does at its start.
async function settled(on) {
  let calm = 0;
  await until('the start is over', async () => { calm = await rate(on, 1) < 40 ? calm + 1 : 0; return calm > 1; }, 120_000);
}

check('30 cost: twenty viewers cost fewer than 50 commands of Redis a second', async (on) => {
  await on.do('push', { updates: ['1', '2', '3'].map((waybill) => ({ waybill })) });
  await settled(on);
  // What a page shows of days is read every 30 s, so that a shorter look would take it for more than it is, or less.
  const none = await rate(on, 10);
  const { got, asked } = await watch(on, 30);
  console.error(`# ${none.toFixed(1)} commands/s without viewers, ${got.toFixed(1)} with twenty, who asked ${asked} times`);
  assert.ok(got - none < 50, `${none} without viewers, ${got} with twenty`);
});

check.long('30 cost: with 10,000 endpoints the overview is there at once, and the status is not asked for again and again', async (on) => {
  await on.newStage({ relays: 1, tenants: many(10_000) });
  await on.do('push', { updates: ['1', '2', '3'].map((waybill) => ({ waybill })) });
  await settled(on);
  const page = await on.open('/', { as: 'operator' });
  const took = [];
  for (let i = 0; i < 40; i++) {
    await page.goto(`${on.base('operator')}/`);
    took.push(await page.evaluate(() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd));
  }
  took.sort((a, b) => a - b);
  const none = await rate(on, 5);
  const { got } = await watch(on, 20);
  console.error(`# overview of 10,000 endpoints: p50 ${took[19].toFixed(0)} ms, p95 ${took[37].toFixed(0)} ms; ` +
    `${none.toFixed(1)} commands/s without viewers, ${got.toFixed(1)} with twenty`);
  assert.ok(got - none < 50, `${none} without viewers, ${got} with twenty`);
});
