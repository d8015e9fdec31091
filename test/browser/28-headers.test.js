import assert from 'node:assert/strict';
import { check, until } from './play.js';

const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
  "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types kuairelay";

const exact = {
  'content-security-policy': csp,
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'clipboard-write=(self)',
  'x-robots-tag': 'noindex',
};

const firstVisit = 60 * 1024; // bytes

check('28 headers: pages, errors, redirects, parts and assets have all of them', async (on) => {
  for (const as of ['operator', 'shop']) {
    const base = on.base(as);
    const session = await on.stage.session(as, base);
    const headers = { cookie: `${session.name}=${session.value}`, accept: 'text/html' };
    const ask = (path, more = {}) => fetch(base + path, { redirect: 'manual', headers, ...more });
    const own = { ...headers, origin: new URL(base).origin };
    const page = await (await ask('/')).text();
    const asset = /href="([^"]*\/app\.css)"/.exec(page)[1].slice(as === 'operator' ? 0 : '/console'.length);
    for (const [path, status, more] of [
      ['/', 200],
      ['/events', 200],
      ['/events?part=main', 200],
      ['/help', 200],
      ['/not-there', 404],
      ['/event?id=evt_not', 404],
      ['/login', 303],
      ['/login', 200, { headers: { accept: 'text/html' } }],
      ['/events', 303, { headers: { accept: 'text/html' } }],
      // On the private listener another site is refused before it comes to the pages.
      ...(as === 'operator'
        ? []
        : [
            [
              '/endpoints/shop/spare/pause',
              403,
              { method: 'POST', headers: { ...headers, origin: 'https://evil.test' } },
            ],
          ]),
      ['/logout', 303, { method: 'POST', headers: own }],
      [asset, 200],
      ['/assets/x/none.js', 404],
    ]) {
      const got = await ask(path, more);
      const what = `${path} as ${as}`;
      assert.equal(got.status, status, what);
      for (const [name, value] of Object.entries(exact))
        assert.equal(got.headers.get(name), value, `${name} of ${what}`);
      const kept = path === asset ? 'public, max-age=31536000, immutable' : 'no-store';
      assert.equal(got.headers.get('cache-control'), kept, what);
      assert.equal(got.headers.get('server'), null, what);
    }
  }
});

check('28 weight: a first visit is small, and a second loads the page alone', async (on) => {
  for (const as of ['operator', 'shop']) {
    const context = await on.context({ as });
    const page = await context.newPage();
    const loaded = [];
    page.on('requestfinished', (r) => loaded.push(r));
    await page.goto(`${on.base(as)}/`, { waitUntil: 'networkidle' });
    let bytes = 0;
    const lines = [];
    for (const r of loaded) {
      if (r.url().includes('part=')) continue;
      const { responseBodySize } = await r.sizes();
      bytes += responseBodySize;
      lines.push(`${r.url()} ${responseBodySize}`);
    }
    assert.ok(lines.length >= 4, lines.join('\n'));
    assert.ok(bytes <= firstVisit, `${bytes} bytes:\n${lines.join('\n')}`);

    const again = [];
    page.on('response', (r) => {
      if (/\/assets\/.*(css|js)$/.test(r.url())) again.push(r);
    });
    await page.goto(`${on.base(as)}/help`);
    // What comes from the cache has no body of its own: none, or less than none.
    assert.ok(again.length >= 3);
    for (const r of again) assert.ok((await r.request().sizes()).responseBodySize <= 0, `${r.url()} is loaded again`);
  }
});

check('28 upgrade: a tab of another version goes on', async (on) => {
  await on.do('push', { updates: [{ waybill: '777000111' }] });
  const context = await on.context({ as: 'operator' });
  const page = await context.newPage();
  // The page of another version asks for its own assets, and gets those of this one.
  await page.route(/\/events$/, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({
      response: answer,
      body: (await answer.text()).replaceAll(/\/assets\/[0-9a-f]+\//g, '/assets/000000000000/'),
    });
  });
  const assets = [];
  page.on('response', (r) => {
    if (r.url().includes('/assets/000000000000/')) assets.push(r);
  });
  await page.goto(`${on.base('operator')}/events`);
  await page.locator('[data-pause]').waitFor();
  assert.ok(assets.length >= 2);
  for (const r of assets) {
    assert.equal(r.status(), 200);
    assert.equal(
      (await r.allHeaders())['cache-control'],
      'no-store',
      'it is not kept under the name of another version',
    );
  }
  await on.do('push', { updates: [{ waybill: '777000222' }] });
  await page.locator('[data-event]', { hasText: '777000222' }).waitFor();

  // While the relay restarts, the page waits and goes on.
  on.allow(/net::ERR_CONNECTION_REFUSED|net::ERR_CONNECTION_RESET|net::ERR_EMPTY_RESPONSE/);
  await on.do('relay', { relay: 0, do: 'restart' });
  await on.do('push', { updates: [{ waybill: '777000333' }] });
  await page.locator('[data-event]', { hasText: '777000333' }).waitFor();
  await until('it is live', async () => !/\d\d:\d\d:\d\d/.test(await page.locator('[data-pause]').innerText()));
});
