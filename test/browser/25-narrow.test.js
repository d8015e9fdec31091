// The pages on small screens, and enlarged.
import assert from 'node:assert/strict';
import { check, stage } from './play.js';
import { none, tenants, visitAll } from './looks.js';

stage({ tenants });

// small tells what is wrong with a page on a small screen.
const small = () => {
  const wrong = [];
  const of = (e) => e.outerHTML.replace(/\s+/g, ' ').slice(0, 110);
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) {
    const out = [...document.querySelectorAll('body *')].filter(
      (e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.sr, .skip'),
    );
    wrong.push(`scrolls sideways: ${wide} > ${innerWidth}: ${out.slice(0, 3).map(of)}`);
  }
  // Nothing but code scrolls sideways within the page, either.
  for (const e of document.querySelectorAll('main *')) {
    if (!e.checkVisibility() || e.closest('pre, .sr, svg, textarea, thead, dialog, .chart') || e.matches('input'))
      continue;
    const scrolls = ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1;
    if (scrolls) wrong.push(`scrolls in itself: ${e.scrollWidth} > ${e.clientWidth}: ${of(e)}`);
  }
  // No column is so narrow that words break into letters.
  const range = document.createRange();
  for (const e of document.querySelectorAll('main td, main th, main dd')) {
    if (e.closest('thead') || !e.checkVisibility()) continue;
    range.selectNodeContents(e);
    const lines = new Set([...range.getClientRects()].map((r) => Math.round(r.bottom / 10))).size;
    const text = e.textContent.trim().replace(/\s+/g, ' ');
    if (lines > 3 && text.length / lines < 3) wrong.push(`${lines} lines for ${text.slice(0, 40)}: ${of(e)}`);
  }
  // A finger needs 24 px (WCAG 2.5.8). A box counts with its label.
  for (const e of document.querySelectorAll('button, select, .button, input:not([type=hidden]), summary, .choices a')) {
    const target = e.matches('[type=radio], [type=checkbox]') ? (e.closest('label') ?? e) : e;
    const { width, height } = target.getBoundingClientRect();
    if (!e.checkVisibility() || width === 0) continue;
    if (height < 24 || width < 24) wrong.push(`${Math.round(width)}x${Math.round(height)}: ${of(target)}`);
  }
  return wrong;
};

for (const width of [320, 768, 1024]) {
  check(`25 narrow: at ${width} px nothing scrolls sideways, and a finger can press`, async (on) => {
    const wrong = {};
    for (const [as, locale] of [
      ['operator', 'en-GB'],
      ['shop', 'zh-CN'],
    ]) {
      await visitAll(on, as, { locale, viewport: { width, height: 740 }, hasTouch: true }, async (page, name) => {
        const of = await page.evaluate(small);
        if (of.length) wrong[`${as} ${name}`] = of;
      });
    }
    none(wrong);
  });
}

check('25 narrow: at 400 % zoom the same, and the menu and the settings lead everywhere', async (on) => {
  const wrong = {};
  const zoomed = { viewport: { width: 320, height: 256 }, deviceScaleFactor: 4 };
  const page = await visitAll(on, 'operator', zoomed, async (p, name) => {
    const of = await p.evaluate(small);
    if (of.length) wrong[name] = of;
  });
  none(wrong);
  await page.goto(`${on.base('operator')}/help`);
  assert.ok(!(await page.locator('#menu').isVisible()));
  await page.locator('button[popovertarget="menu"]').click();
  await page.locator('#menu a[data-key="c"]').click();
  await page.waitForURL(/\/config$/);
  await page.locator('details.settings > summary').click();
  await page.locator('details.settings a[href*="lang=zh"]').click();
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
});

check('25 narrow: every action is there as on a wide page', async (on) => {
  // acts are the addresses of what can be pressed and seen.
  const acts = () =>
    [...document.querySelectorAll('main form[method=post], main a.button, main a[data-dialog], main a[data-dialog]')]
      .filter((e) => (e.matches('form') ? [...e.querySelectorAll('button')] : [e]).some((x) => x.checkVisibility()))
      .map((e) => new URL(e.action ?? e.href).pathname);
  const wide = {};
  await visitAll(on, 'operator', {}, async (page, name) => {
    wide[name] = await page.evaluate(acts);
  });
  assert.ok(Object.values(wide).flat().length > 30);
  const narrow = {};
  await visitAll(on, 'operator', { viewport: { width: 320, height: 740 } }, async (page, name) => {
    narrow[name] = await page.evaluate(acts);
  });
  assert.deepEqual(narrow, wide);
});
