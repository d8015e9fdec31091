import assert from 'node:assert/strict';
import { check, logIn } from './play.js';

const cookieOf = async (page, name) => (await page.context().cookies()).find((c) => c.name === name);

// secrets are the keys that no page may have.
const secretsIn = (text, keys) => Object.values(keys).filter((key) => text.includes(key));

check('01 login: a wrong key is refused, a right one leads to where one wanted to go', async (on) => {
  for (const as of ['operator', 'shop']) {
    const page = await on.open('/events?status=signed', { as: undefined });
    await page.goto(`${on.base(as)}/events?status=signed`);
    assert.match(page.url(), /\/login\?next=/, 'nobody gets in without a key');

    await logIn(page, 'not-a-key-of-anybody');
    const wrong = page.getByRole('alert');
    await wrong.waitFor();
    assert.equal(await page.locator('input[name=key]').inputValue(), '', 'the key is not in the answer');
    assert.equal(
      await page.locator('input[name=key]').getAttribute('aria-describedby'),
      await wrong.getAttribute('id'),
    );

    await logIn(page, on.keys[as]);
    await page.waitForURL(`${on.base(as)}/events?status=signed`);
    await page.locator('h1').waitFor();
  }
});

check('01 login: next leads to no other site', async (on) => {
  const elsewhere = [
    '//evil.test/',
    '///evil.test',
    'https://evil.test/',
    'https:evil.test',
    '\\evil.test',
    '/\\evil.test',
    '/\t/evil.test',
    'javascript:alert(1)',
    '%2f%2fevil.test',
    'evil.test',
    '/login',
    '',
  ];
  for (const as of ['operator', 'shop']) {
    const context = await on.context({ as });
    const page = await context.newPage();
    for (const next of elsewhere) {
      // Whoever is logged in already goes on at once, by the same rule as after a login.
      await page.goto(`${on.base(as)}/login?next=${encodeURIComponent(next)}`);
      assert.equal(page.url(), `${on.base(as)}/`, `next=${next}`);
    }
  }

  const page = await on.open('/login?next=%2F%2Fevil.test');
  await logIn(page, on.keys.operator);
  await page.waitForURL(`${on.base('operator')}/`);
});

check('01 login: the cookie is for this side alone, and the key is nowhere', async (on) => {
  for (const as of ['operator', 'shop']) {
    const side = as === 'operator' ? 'operator' : 'tenants';
    const cookie = as === 'operator' ? 'kuairelay-operator' : 'kuairelay-tenant';
    for (const tls of [false, true]) {
      const base = tls ? on.relays[0].tls[side] : on.relays[0][side];
      const page = await (await on.context()).newPage();
      const urls = [];
      page.on('request', (r) => urls.push(r.url()));
      await page.goto(`${base}/`);
      await logIn(page, on.keys[as]);
      await page.waitForURL(`${base}/`);

      const got = await cookieOf(page, tls ? `__Host-${cookie}` : cookie);
      assert.ok(got, `${as} has its cookie${tls ? ' over TLS' : ''}`);
      assert.deepEqual(
        { httpOnly: got.httpOnly, secure: got.secure, sameSite: got.sameSite, path: got.path },
        { httpOnly: true, secure: tls, sameSite: 'Lax', path: tls || as === 'operator' ? '/' : '/console/' },
      );
      assert.deepEqual(secretsIn(got.value, on.keys), []);
      assert.ok(!(await page.evaluate(() => document.cookie)).includes(got.value), 'scripts do not see it');

      const links = await page.locator('nav a').evaluateAll((all) => all.map((a) => a.href));
      assert.ok(links.length > 5);
      const texts = await page.evaluate(
        (all) => Promise.all(all.map(async (link) => (await fetch(link)).text())),
        links,
      );
      const kept = await page.evaluate(() =>
        JSON.stringify([localStorage, sessionStorage, location.href, history.state]),
      );
      for (const text of [...texts, kept, await page.content()]) assert.deepEqual(secretsIn(text, on.keys), []);
      assert.deepEqual(secretsIn(urls.join('\n'), on.keys), [], 'in the URL of a request');
    }
  }
});
