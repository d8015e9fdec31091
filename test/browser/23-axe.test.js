// axe-core looks at every page, light and dark, in both languages, with all that opens open, and with dialogs. A look
// takes half a second: there is a check for each language and part, so that none comes near its limit.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { axePath, check, stage } from './play.js';
import { none, pagesOf, tenants, visitAll } from './looks.js';

stage({ tenants });

const axe = readFileSync(axePath, 'utf8');
const all = { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] };
const ofColors = { type: 'rule', values: ['color-contrast', 'link-in-text-block'] }; // all others are blind to colours

// violations are those that axe finds in a page as it is now, each with the first three places.
async function violations(page, runOnly) {
  const found = await page.evaluate(async (only) => {
    const options = { runOnly: only, resultTypes: ['violations'], preload: false };
    return (await window.axe.run(document, options)).violations;
  }, runOnly);
  return found.map((v) => {
    const places = v.nodes.slice(0, 3).map((n) => `${n.target} ${n.any[0]?.message ?? n.all[0]?.message ?? ''}`);
    return `${v.id}: ${v.help}: ${v.nodes.length}: ${places.join(' | ')}`;
  });
}

// Finds are the violations of several pages.
class Finds {
  found = {};

  // note looks at a page, light and dark.
  async note(page, name) {
    if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe);
    for (const [colorScheme, runOnly] of [
      ['light', all],
      ['dark', ofColors],
    ]) {
      await page.emulateMedia({ colorScheme });
      const bad = await violations(page, runOnly);
      if (bad.length) this.found[`${name}, ${colorScheme}`] = bad;
    }
  }

  end() {
    none(this.found);
  }
}

const unfold = () => {
  for (const d of document.querySelectorAll('main details:not(.menu)')) d.open = true;
};

for (const locale of ['en-GB', 'zh-CN']) {
  for (const part of [0, 1]) {
    check(`23 axe: no violation on any page, light and dark: ${locale}, part ${part + 1}`, async (on) => {
      const finds = new Finds();
      const pages = Object.entries(await pagesOf(on, 'operator'));
      const half = Math.ceil(pages.length / 2);
      const some = Object.fromEntries(pages.slice(part * half, (part + 1) * half));
      await visitAll(on, 'operator', { locale, pages: some }, async (page, name) => {
        await page.evaluate(unfold);
        await finds.note(page, name);
      });
      finds.end();
    });
  }

  check(`23 axe: no violation in dialogs, light and dark: ${locale}`, async (on) => {
    const finds = new Finds();
    await dialogs(on, locale, finds);
    finds.end();
  });

  check(`23 axe: no violation in menus, at the login, narrow, and for a tenant: ${locale}`, async (on) => {
    const finds = new Finds();
    await menus(on, locale, finds);
    await finds.note(await on.open('/login', { locale }), 'login');
    await finds.note(await on.open('/', { as: 'shop', locale }), 'a tenant’s overview');
    finds.end();
  });
}

// dialogs opens each dialog that there is.
async function dialogs(on, locale, finds) {
  const page = await (await on.context({ as: 'operator', locale })).newPage();
  const open = page.locator('dialog[open]');
  const go = async (path) => page.goto(on.base('operator') + path);
  await pagesOf(on, 'operator');

  await go('/endpoints/shop/orders');
  await page.locator('a[data-dialog][href$="/test"]').click();
  await open.waitFor();
  await finds.note(page, 'dialog: test');
  await open.locator('button.main').click();
  await open.locator('[data-test-result]').waitFor();
  await finds.note(page, 'dialog: result of a test');

  await go('/endpoints/crm/gone');
  await page.locator('a[data-dialog][href$="/resume"]').click();
  await open.waitFor();
  await finds.note(page, 'dialog: resume');

  await go('/endpoints');
  await page.locator('thead input[type=checkbox]').check();
  await finds.note(page, 'all selected');
  await page.locator('button[value=pause]').click();
  await open.waitFor();
  await finds.note(page, 'dialog: pause several');

  await go('/dead-letters');
  await page.locator('a[data-dialog]').first().click();
  await open.waitFor();
  await finds.note(page, 'dialog: redrive');
}

// menus opens what the header has, and a part of the filter of events.
async function menus(on, locale, finds) {
  await pagesOf(on, 'operator');
  const page = await on.open('/events', { as: 'operator', locale });
  for (const menu of ['header .menu:has([data-clock])', 'header .settings', '.pick']) {
    const one = page.locator(menu).first();
    await one.locator('summary').click();
    await finds.note(page, `open: ${menu}`);
    await one.locator('summary').click();
  }
  const narrow = await on.open('/', { as: 'operator', locale, viewport: { width: 360, height: 740 } });
  await narrow.locator('button[popovertarget="menu"]').click();
  await finds.note(narrow, 'narrow: the menu');
  await narrow.keyboard.press('Escape');
  await narrow.locator('.settings summary').click();
  await finds.note(narrow, 'narrow: the settings');
}

check('23 contrast: selected text is read as well as other text', async (on) => {
  for (const colorScheme of ['light', 'dark']) {
    const page = await on.open('/help', { as: 'operator', colorScheme });
    const ratio = await page.evaluate(() => {
      const style = getComputedStyle(document.querySelector('main dd'), '::selection');
      const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
      const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
      const light = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        if (a !== 255) throw new Error(`${color} is not a colour of its own`);
        return 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
      };
      const [dark, bright] = [light(style.color), light(style.backgroundColor)].sort((a, b) => a - b);
      return (bright + 0.05) / (dark + 0.05);
    });
    assert.ok(ratio >= 4.5, `${colorScheme}: ${ratio}`);
  }
});
