// Forced colours, less motion, paper, and screenshots of everything, which a person looks at:
//
//	go test ./test/browser -check '^29 shots' -shots DIR
import assert from 'node:assert/strict';
import { check, logIn, stage } from './play.js';
import { pagesOf, tenants, visitAll } from './looks.js';

stage({ tenants });

check('29 looks: forced colours show each state with a sign and a word', async (on) => {
  const pages = await pagesOf(on, 'operator');
  const page = await (await on.context({ as: 'operator', forcedColors: 'active' })).newPage();
  for (const name of ['overview', 'endpoints', 'event', 'help']) {
    await page.goto(on.base('operator') + pages[name]);
    const words = await page.locator('main .state').allInnerTexts();
    assert.ok(words.length > 0, name);
    for (const word of words) assert.match(word, /^\S+\s+\p{L}/u, name);
  }
  // What is drawn differs by more than its colour, or keeps it.
  await page.goto(on.base('operator') + pages.endpoints);
  const kept = await page
    .locator('svg.ribbon')
    .first()
    .evaluate((e) => getComputedStyle(e).forcedColorAdjust);
  assert.equal(kept, 'none', 'a drawing keeps its colours');
});

check('29 looks: nothing moves where motion is to be reduced', async (on) => {
  const page = await on.open('/events', { as: 'operator' });
  await on.do('push', { updates: [{ waybill: '99900000001', status: 'collected' }] });
  await page.locator('tr.new').first().waitFor();
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
});

check('29 looks: paper has the content alone, in dark ink', async (on) => {
  const page = await (await on.context({ as: 'operator', colorScheme: 'dark' })).newPage();
  const pages = await pagesOf(on, 'operator');
  for (const name of ['overview', 'event', 'dead']) {
    await page.emulateMedia({ media: 'screen' });
    await page.goto(on.base('operator') + pages[name]);
    await page.emulateMedia({ media: 'print' });
    for (const part of ['header.top', 'nav.side', 'main button', 'main form.filter']) {
      assert.equal(await page.locator(part).filter({ visible: true }).count(), 0, `${part} of ${name} is printed`);
    }
    assert.ok(await page.locator('main h1').isVisible());
    const [ink, paper] = await page.evaluate(() => {
      const { color, backgroundColor } = getComputedStyle(document.body);
      return [color, backgroundColor].map((c) => c.match(/[\d.]+/g).map(Number));
    });
    assert.ok(Math.max(...ink.slice(0, 3)) < 90, `${name} is printed in rgb(${ink})`);
    assert.equal(paper[3], 0, `${name} is printed on rgba(${paper})`);
  }
});

// shots are what is photographed: who, how, and of which pages (all: no list).
const both = ['en-GB', 'zh-CN'].flatMap((locale) => ['light', 'dark'].map((colorScheme) => ({ locale, colorScheme })));
const some = [
  'overview',
  'events',
  'event',
  'retried',
  'waybill',
  'endpoints',
  'endpoint',
  'dead',
  'subscribed',
  'system',
];
const shots = [
  ...both.map((look) => ({ as: 'operator', ...look })),
  { as: 'shop', locale: 'zh-CN', colorScheme: 'light' },
  { as: 'operator', locale: 'en-GB', colorScheme: 'light', width: 360 },
  { as: 'operator', locale: 'zh-CN', colorScheme: 'dark', width: 360, pages: some },
  { as: 'operator', locale: 'en-GB', colorScheme: 'light', width: 900, pages: some },
  { as: 'operator', locale: 'en-GB', colorScheme: 'light', media: 'print', width: 760, pages: some },
  { as: 'operator', locale: 'en-GB', forcedColors: 'active', pages: some },
];

// opened photographs what has to be opened: dialogs, menus, parts of a filter, the login.
async function opened(on, how, options) {
  const page = await (await on.context({ as: 'operator', ...options })).newPage();
  const go = (path) => page.goto(on.base('operator') + path);
  const dialog = page.locator('dialog[open]');
  const shot = (name) => on.shot(page, `${how}-${name}`, { fullPage: false });
  for (const [name, path, what] of [
    ['test', '/endpoints/shop/signed', 'a[data-dialog][href$="/test"]'],
    ['resume', '/endpoints/crm/gone', 'a[data-dialog][href$="/resume"]'],
    ['redrive', '/dead-letters', 'a[data-dialog]'],
  ]) {
    await go(path);
    await page.locator(what).first().click();
    await dialog.waitFor();
    await shot(`dialog-${name}`);
    if (name !== 'test') continue;
    await dialog.locator('button.main').click();
    await dialog.locator('[data-test-result]').waitFor();
    await shot('dialog-test-result');
  }
  await go('/endpoints');
  for (const box of await page.locator('tbody input[type=checkbox]').all()) await box.check();
  await page.locator('button[value=pause]').click();
  await dialog.waitFor();
  await shot('dialog-some');

  const wide = options.viewport.width > 800;
  const parts = wide ? ['header .menu:has([data-clock])', 'header .settings', '.pick'] : ['header .settings', '.pick'];
  for (const [i, part] of parts.entries()) {
    await go('/events');
    await page.locator(`${part} summary`).first().click();
    await shot(`open-${i}`);
  }
  if (!wide) {
    await page.locator('button[popovertarget="menu"]').click();
    await shot('open-menu');
  }
  const login = await on.open('/login', options);
  await logIn(login, 'wrong');
  await login.locator('[role=alert]').waitFor();
  await on.shot(login, `${how}-login`, { fullPage: false });
}

if (process.env.BROWSER_SHOTS) {
  for (const { as, width = 1280, media = 'screen', pages, ...look } of shots) {
    const how = [as, look.locale.slice(0, 2), look.colorScheme ?? 'forced', media === 'print' ? media : width].join(
      '-',
    );
    check(`29 shots: ${how}`, async (on) => {
      const all = await pagesOf(on, as);
      const some = Object.fromEntries(Object.entries(all).filter(([name]) => pages?.includes(name) ?? true));
      const options = { ...look, viewport: { width, height: 800 }, pages: some };
      await visitAll(on, as, options, async (page, name) => {
        await page.emulateMedia({ media });
        await on.shot(page, `${how}-${name}`);
        await page.emulateMedia({ media: 'screen' });
      });
    });
  }
  for (const [how, options] of [
    ['en-light-1280', { locale: 'en-GB', colorScheme: 'light', viewport: { width: 1280, height: 800 } }],
    ['zh-dark-360', { locale: 'zh-CN', colorScheme: 'dark', viewport: { width: 360, height: 740 } }],
  ]) {
    check(`29 shots: opened ${how}`, async (on) => {
      await pagesOf(on, 'operator');
      await opened(on, how, options);
    });
  }
}
