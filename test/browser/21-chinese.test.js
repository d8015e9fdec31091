import assert from 'node:assert/strict';
import { check, stage } from './play.js';
import { none, tenants, visitAll } from './looks.js';

stage({ tenants });

// Words that Chinese engineers write in Latin, and names: of products, formats, settings and commands.
const allowed = new Set(
  (
    'kuairelay dev type redis api url json yaml http https webhook webhooks standard token cookie utc english csv ' +
    'ndjson tls dns curl openapi help kib mib gib enter when shop crm orders alerts archive nightly stock sync gone ' +
    'backend collected sending delivering allograph signed question subscribed sto ytsd dbkd'
  ).split(' '),
);

// latin gives the words of three letters or more that a reader sees, outside of code, names and what others wrote.
const latin = () => {
  const skip = 'code, kbd, pre, bdi, textarea, [lang="en"], [hreflang], .code, .id, .fields, title, script, style';
  const seen = (e) => e.checkVisibility() || e.closest('details:not([open])') || e.closest('.sr');
  const texts = [document.title];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n = walker.nextNode(); n; n = walker.nextNode()) {
    if (!n.parentElement.closest(skip) && seen(n.parentElement)) texts.push(n.data);
  }
  for (const name of ['aria-label', 'title', 'placeholder', 'data-label', 'alt']) {
    for (const e of document.querySelectorAll(`[${name}]`)) {
      // A tooltip has the time in UTC, and what is copied has its id.
      if (!e.matches('time, .copy, [lang="en"]')) texts.push(e.getAttribute(name));
    }
  }
  const command = /kuairelay[- ][\x20-\x7e]+/g; // or a header with its value
  return texts.flatMap((text) =>
    [...text.replace(command, '').matchAll(/[\w./-]*[A-Za-z][A-Za-z_]{2,}[\w./-]*/g)].map(([word]) => ({
      word,
      text: text.trim().slice(0, 60),
    })),
  );
};

// isName says whether a word is a key of the config, a path, an id or an endpoint rather than English.
const isName = (word) => /[_./]|\d/.test(word);

for (const as of ['operator', 'shop']) {
  check(`21 Chinese: no English word is left, and lang is right (${as})`, async (on) => {
    const seen = {};
    await visitAll(on, as, { locale: 'zh-CN' }, async (page, name) => {
      assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN', name);
      const words = (await page.evaluate(latin)).filter(
        ({ word }) => !allowed.has(word.toLowerCase()) && !isName(word),
      );
      if (words.length) seen[name] = [...new Set(words.map(({ word, text }) => `${word} (in: ${text})`))];
    });
    none(seen);
  });
}

check('21 Chinese: the language is the browser’s until another is chosen, which is kept', async (on) => {
  const context = await on.context({ as: 'operator', locale: 'zh-CN' });
  const page = await context.newPage();
  const lang = () => page.locator('html').getAttribute('lang');
  await page.goto(`${on.base('operator')}/`);
  assert.equal(await lang(), 'zh-CN');
  for (const tag of ['en', 'zh-CN']) {
    await page.locator(`header a.tool[hreflang="${tag}"]`).click();
    assert.equal(await lang(), tag);
    await page.goto(`${on.base('operator')}/events`);
    assert.equal(await lang(), tag, 'it is kept');
  }
});

check('21 Chinese: nothing is cut at 360 px', async (on) => {
  const cut = {};
  await visitAll(on, 'operator', { locale: 'zh-CN', viewport: { width: 360, height: 740 } }, async (page, name) => {
    const of = await page.evaluate(() =>
      [...document.querySelectorAll('button, .button, .state, .tag, h1, h2, th, td, dd, li, p, a')]
        .filter((e) => !e.closest('.sr, svg, thead, pre') && e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
        .filter((e) => ['hidden', 'clip'].includes(getComputedStyle(e).overflowX) && !e.matches('.sr'))
        .map((e) => e.textContent.trim().slice(0, 40)),
    );
    if (of.length) cut[name] = of;
  });
  none(cut);
});
