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

check(
  '02 limits: the sixth wrong login in a row is told how long to wait, and another address is not',
  async (on) => {
    await on.newStage();
    on.allow(/POST .*login answers 4\d\d/);
    const page = await on.open('/login');
    await page.locator('input[name=key]').fill(on.keys.operator);
    const [answer] = await Promise.all([
      page.waitForResponse((r) => r.request().isNavigationRequest()),
      burst(page, '/login', 6, { key: 'guess' }).then(async (answers) => {
        assert.deepEqual(statuses(answers), [403, 403, 403, 403, 403, 429]);
        await page.locator('form:has(input[name=key]) button').click();
      }),
    ]);
    assert.equal(answer.status(), 429, 'the right key has to wait, too');
    const said = /again in (\d+) s/.exec(await page.getByRole('alert').innerText());
    assert.equal(answer.headers()['retry-after'], said[1]);

    // Another address has done nothing: it comes through a proxy that names it.
    const other = await (await on.context({ extraHTTPHeaders: { 'X-Forwarded-For': '203.0.113.9' } })).newPage();
    await other.goto(`${on.relays[0].operator}/login`);
    await logIn(other, on.keys.operator);
    await other.waitForURL(`${on.relays[0].operator}/`);

    // After a while the first one is let in.
    await until('the wait is over', async () => {
      await Promise.all([page.waitForResponse(/\/login$/), logIn(page, on.keys.operator)]);
      await page.waitForLoadState();
      return !page.url().includes('/login');
    });
  },
);

check('02 limits: a session that asks for too much is told so in words', async (on) => {
  await on.newStage();
  await on.do('config', { replace: ['reads: 100000', 'reads: 1'] });
  on.allow(/answers 429/);
  const page = await on.open('/help', { as: 'shop' });
  const refused = (await burst(page, '/console/help', 30)).find((a) => a.status === 429);
  assert.equal(refused.after, '1');
  assert.match(refused.text, /<h1>Too many requests<\/h1>/);
  assert.match(refused.text, /Try again in 1 s/);
  await until('it is let in again', async () => (await page.reload()).ok());
});
