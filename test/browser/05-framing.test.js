import assert from 'node:assert/strict';
import { check } from './play.js';

check('05 framing: a frame of a page stays empty', async (on) => {
  const { relays } = on;
  on.allow(/frame-ancestors|Framing|X-Frame-Options|refused to display/i);
  on.allow(/net::ERR_BLOCKED_BY_RESPONSE/);
  for (const as of ['operator', 'shop']) {
    const base = on.base(as);
    const frames = ['/', '/not-there'].map((path) => `<iframe src="${base}${path}"></iframe>`).join('');
    const at = await on.do('elsewhere', { html: `<h1>elsewhere</h1>${frames}` });
    for (const where of [at.site, at.port]) {
      on.origin(where);
      const page = await (await on.context({ as })).newPage();
      await page.goto(where);
      await page.waitForLoadState('load');
      const inside = await Promise.all(
        page
          .frames()
          .slice(1)
          .map((f) => f.evaluate(() => document.body?.innerText ?? '')),
      );
      assert.equal(inside.length, 2);
      for (const text of inside) assert.doesNotMatch(text, /kuairelay|token|API key|Overview/i, relays[0].operator);
    }
  }
});
