import assert from 'node:assert/strict';
import { check, logIn, until } from './play.js';

// burst sends requests at once, and gives their answers.
const burst = (page, path, count, form) =>
  page.evaluate(
    ([url, n, body]) =>
      Promise.all(
        Array.from({ length: n }, async () => {
          const answer = await fetch(url, body ? { method: 'POST', body: new URLSearchParams(body) } : {});
          return { status: answer.status, after: answer.headers.get('Retry-After'), text: await answer.text() };
        }),
      ),
    [path, count, form],
  );

const statuses = (answers) => answers.map((a) => a.status).sort();

// sixth sends six wrong logins at once, and then the right key, which has to wait, too.
async function sixth(on, as) {
  on.allow(/POST .*login answers 4\d\d/);
  const page = await (await on.context()).newPage();
  await page.goto(`${on.base(as)}/login`);
  await page.locator('input[name=key]').fill(on.keys[as]);
  const [answer] = await Promise.all([
    page.waitForResponse((r) => r.request().isNavigationRequest()),
    burst(page, page.url(), 6, { key: 'guess' }).then(async (answers) => {
      assert.deepEqual(statuses(answers), [403, 403, 403, 403, 403, 429]);
      await page.locator('form:has(input[name=key]) button').click();
    }),
  ]);
  assert.equal(answer.status(), 429, 'the right key has to wait, too');
  const said = /again in (\d+) s/.exec(await page.getByRole('alert').innerText());
  assert.equal(answer.headers()['retry-after'], said[1]);
  return page;
}

// from is a browser at another address: it comes through a proxy that names it.
async function from(on, as, address) {
  const page = await (await on.context({ extraHTTPHeaders: { 'X-Forwarded-For': address } })).newPage();
  await page.goto(`${on.base(as)}/login`);
  const [answer] = await Promise.all([
    page.waitForResponse((r) => r.request().method() === 'POST'),
    logIn(page, on.keys[as]),
  ]);
  return answer.status();
}

check('02 limits: the sixth wrong login of a tenant is told to wait, and another address is not', async (on) => {
  await on.newStage();
  const page = await sixth(on, 'shop');
  assert.equal(await from(on, 'shop', '203.0.113.9'), 303, 'another address has done nothing');

  // After a while the first one is let in.
  await until('the wait is over', async () => {
    await Promise.all([page.waitForResponse(/\/login$/), logIn(page, on.keys.shop)]);
    await page.waitForLoadState();
    return !page.url().includes('/login');
  });
});

check('02 limits: the sixth wrong login of the operator is told to wait, whatever address a proxy names', async (on) => {
  await on.newStage();
  await sixth(on, 'operator');
  assert.equal(await from(on, 'operator', '203.0.113.9'), 429, 'the private listener believes no proxy');
});

check('02 limits: a session that asks for too much is told so in words', async (on) => {
  await on.newStage();
  await on.do('config', { replace: ['reads: 100000', 'reads: 1'] });
  on.allow(/answers 429/);
  const page = await on.open('/help', { as: 'shop' });
  const refused = (await burst(page, '/console/help', 30)).find((a) => a.status === 429);
  assert.equal(refused.after, '1');
  assert.match(refused.text, /<h1>Too many requests/);
  assert.match(refused.text, /Try again in 1 s/);
  await until('it is let in again', async () => (await page.reload()).ok());
});
