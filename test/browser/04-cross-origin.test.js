import assert from 'node:assert/strict';
import { check, logIn, until } from './play.js';

// form is a page that posts by itself.
const form = (action, fields = {}) =>
  `<form method=post action="${action}">${Object.entries(fields)
    .map(([k, v]) => `<input name="${k}" value="${v}">`)
    .join('')}</form><script>document.forms[0].submit()</script>`;

check('04 cross-origin: forms of other sites and other ports do nothing', async (on) => {
  for (const as of ['operator', 'shop']) {
    const base = on.base(as);
    const context = await on.context({ as });
    const page = await context.newPage();
    for (const [where, path, fields] of [
      ['site', '/endpoints/shop/spare/pause', {}],
      ['port', '/endpoints/shop/spare/pause', {}],
      ['site', '/login', { key: on.keys[as] }],
      ['port', '/login', { key: on.keys[as] }],
      ['port', '/logout', {}],
    ]) {
      const at = await on.do('elsewhere', { html: form(base + path, fields) });
      on.origin(at[where]);
      const cookies = await context.cookies();
      const [answer] = await Promise.all([
        page.waitForResponse((r) => r.url() === base + path),
        page.goto(at[where]),
      ]);
      assert.equal(answer.status(), 403, `${path} as ${as} from another ${where}`);
      assert.deepEqual(await answer.headersArray().then((all) => all.filter((h) => /set-cookie/i.test(h.name))), []);
      assert.deepEqual(await context.cookies(), cookies, 'no cookie changed');
    }
    const { body } = await on.api('/endpoints/spare', { as: 'shop' });
    assert.notEqual(body.state, 'paused');
    await page.goto(`${base}/help`);
    assert.ok(!page.url().includes('/login'), 'the session goes on');
  }
});

check('04 cross-origin: another port may not reload the config either', async (on) => {
  const at = await on.do('elsewhere', { html: form(`${on.relays[0].operator}/-/reload`) });
  on.origin(at.port);
  const page = await (await on.context()).newPage();
  const [answer] = await Promise.all([page.waitForResponse(/reload/), page.goto(at.port)]);
  assert.equal(answer.status(), 403);
});

check(
  '04 cross-origin: our own forms work over plain HTTP under a name, where a browser sends no Sec-Fetch-Site',
  async (on) => {
    for (const as of ['operator', 'shop']) {
      const base = on.base(as).replace('127.0.0.1', 'insecure.test');
      on.origin(base);
      const page = await (await on.context()).newPage();
      await page.goto(`${base}/endpoints/shop/spare`);
      const [login] = await Promise.all([
        page.waitForRequest((r) => r.method() === 'POST'),
        logIn(page, on.keys[as]),
      ]);
      assert.equal((await login.allHeaders())['sec-fetch-site'], undefined, 'this is what the check is about');
      await page.waitForURL(`${base}/endpoints/shop/spare`);
      const state = async () => (await on.api('/endpoints/spare', { as: 'shop' })).body.state;
      await page.locator('form[action$="/pause"] button').first().click();
      await until('it is paused', async () => (await state()) === 'paused');
      await page.locator('form[action$="/resume"] button').first().click();
      await until('it is resumed', async () => (await state()) !== 'paused');
    }
  },
);
