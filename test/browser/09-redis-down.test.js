import assert from 'node:assert/strict';
import { check, logIn, until } from './play.js';

check('09 Redis down: a page that was open says so, and goes on by itself', async (on) => {
  await on.do('push', { updates: [{ waybill: '777000111' }] });
  const live = await on.open('/events', { as: 'operator' });
  await live.locator('[data-event]').first().waitFor();
  const mark = live.locator('[data-pause]');

  // The other page is in Chinese, and its times are in another zone than the browser's.
  const chinese = await on.open('/events?lang=zh&tz=UTC', { as: 'operator' });
  await until('live has begun', () => mark.isVisible());

  on.allow(/answers 50\d/);
  await on.do('redis', { do: 'stop' });
  const late = await on.open('/events', { as: 'operator' });
  assert.equal(await late.locator('[data-event]').count(), 0);

  // The page that was open says since when it is not up to date, and keeps what it has.
  await until('it says that it is not up to date', async () => /\d\d:\d\d:\d\d/.test(await mark.innerText()));
  assert.equal(await live.locator('[data-event]').count(), 1);
  await on.shot(live, '09 Redis down, a page that was open');
  const since = /^自 (\d\d):(\d\d):(\d\d) 起未更新$/;
  const elsewhere = chinese.locator('[data-pause]');
  await until('it says so in Chinese', async () => since.test((await elsewhere.innerText()).trim()));
  const [, hours, minutes] = (await elsewhere.innerText()).trim().match(since);
  const now = new Date();
  const ago = (now.getUTCHours() * 60 + now.getUTCMinutes() - hours * 60 - minutes + 24 * 60) % (24 * 60);
  assert.ok(ago < 10, `it was up to date ${ago} minutes ago, in UTC`);

  await on.do('redis', { do: 'start' });
  await until(
    'a callback goes in again',
    async () => (await on.do('push', { updates: [{ waybill: '777000222' }] }))[0].status === 200,
  );
  await live.locator('[data-event]', { hasText: '777000222' }).waitFor({ timeout: 90_000 });
  await late.locator('[data-event]', { hasText: '777000222' }).waitFor({ timeout: 90_000 });
  await until('it says that it is live', async () => !/\d\d:\d\d:\d\d/.test(await mark.innerText()));
});

check('09 Redis down: pages keep their frame and say so, and a login works', async (on) => {
  on.allow(/answers 50\d/);
  await on.do('redis', { do: 'stop' });
  for (const as of ['operator', 'shop']) {
    const page = await (await on.context()).newPage();
    await page.goto(`${on.base(as)}/login`);
    await logIn(page, on.keys[as]);
    await page.waitForURL(`${on.base(as)}/`);
    const links = await page.locator('nav a').evaluateAll((all) => all.map((a) => a.href));
    assert.ok(links.length > 5, 'the menu is there');
    for (const link of links) {
      const answer = await page.goto(link);
      assert.ok([200, 503].includes(answer.status()), `${link} answers ${answer.status()}`);
      assert.equal(await page.locator('nav a').count(), links.length, `${link} keeps its menu`);
      assert.equal(await page.locator('input[type=search]').count(), 1, `${link} keeps its search`);
      assert.ok((await page.locator('h1').first().innerText()).trim(), `${link} has a heading`);
      if (answer.status() === 503) assert.match(await page.locator('main').innerText(), /Redis/, link);
    }
    await page.goto(`${on.base(as)}/`);
    await until('the overview says so', async () => /Redis/.test(await page.locator('main').innerText()));
    await on.shot(page, `09 Redis down, ${as}`);
  }
  await on.do('redis', { do: 'start' });
  await until('it is up again', async () => !(await on.api('/status')).body.partial);
});
