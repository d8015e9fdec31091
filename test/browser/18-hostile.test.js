import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, until } from './play.js';

const bidi = '\u202e\u2066\u200b\u0000\u001b[31m';
const hostile = ['</script><script>window.pwned=1</script>', '"><img src=x onerror=window.pwned=1>', '<svg onload=window.pwned=1>',
  '{{.Secret}}', 'javascript:window.pwned=1', '</template><script>window.pwned=1</script>', bidi, "'; touch pwned; '",
  '$(touch pwned)`touch pwned`', '=HYPERLINK("http://evil.test")'];
const all = hostile.join(' ');

// inert says that nothing of others became more than text.
async function inert(page, what) {
  const found = await page.evaluate(() => ({
    pwned: window.pwned, wide: document.documentElement.scrollWidth - innerWidth,
    made: document.querySelectorAll('main img, main script, main svg[onload], main iframe, main template').length,
    links: [...document.querySelectorAll('a[href]')].filter((a) => !/^https?:$/.test(a.protocol)).length,
    hidden: /[\u202a-\u202e\u2066-\u2069\u200b\u0000\u001b]/.test(document.body.innerText),
  }));
  assert.deepEqual(found, { pwned: undefined, wide: found.wide, made: 0, links: 0, hidden: false }, what);
  assert.ok(found.wide <= 0, `${what}: ${found.wide} px too wide`);
}

const clipboard = (page) => page.evaluate(() => navigator.clipboard.readText());

check('18 hostile text: in every field that others fill', async (on) => {
  const item = { waybill_code: '777<b>"x', cp_code: 'zt<i>', status: all, shipper: all, tracks: [{ time: '2026-11-29 10:00:00', context: all, status: all }],
    long: 'x'.repeat(20_000) };
  const deep = `${'['.repeat(5_000)}${']'.repeat(5_000)}`;
  await on.do('answer', { endpoint: 'orders', status: 422, body: all + 'y'.repeat(600), headers: { server: '<script>window.pwned=1</script>', 'x-request-id': '"><img src=x>' } });
  await on.do('push', { bodies: [
    JSON.stringify({ type: 'express_sub_msg', data: [item] }),
    `{"type":"express_sub_msg","data":[{"waybill_code":"DEEP1","cp_code":"zt","status":"signed","deep":${deep}}]}`,
    `{"type":"express_sub_msg","data":[{"cp_code":"zt","note":${JSON.stringify(all)}}]}`,
    `${all} this is not JSON`,
  ] });
  const { events, dead } = await until('the hostile event is dead', async () => {
    const list = (await on.api('/events?limit=100')).body.events;
    const letters = (await on.api('/dead-letters')).body.dead_letters;
    return letters.length > 0 && list.length > 0 && { events: list, dead: letters };
  });
  const event = events.find((e) => e.id === dead[0].event_id) ?? events[0];
  const { body: { quarantined } } = await on.api('/quarantine');
  const paths = ['/events', `/events?status=${encodeURIComponent(all)}&brand=${encodeURIComponent('"><img src=x>')}`,
    ...events.map((e) => `/event?id=${e.id}`), `/event?id=${event.id}&form=raw`, `/event?id=${event.id}&form=shop/orders`,
    `/event/request?id=${event.id}&endpoint=shop/orders`, `/waybill?code=${encodeURIComponent(event.waybill_code)}`,
    `/waybill?code=${encodeURIComponent(all)}`, `/find?q=${encodeURIComponent(hostile.join('\n'))}`, '/dead-letters', '/endpoints/shop/orders',
    '/quarantine', ...quarantined.map((q) => `/quarantine?id=${q.id}`), `/events?callback=${encodeURIComponent(all)}`, '/'];
  for (const [width, list] of [[1280, paths], [360, paths.slice(0, 6)]]) {
    const page = await on.open('/', { as: 'operator', viewport: { width, height: 800 } });
    for (const path of list) {
      await page.goto(on.base('operator') + path);
      for (const summary of await page.locator('main details:not(.menu) > summary').all()) if (await summary.isVisible()) await summary.click();
      await inert(page, `${width} px: ${path.slice(0, 80)}`);
    }
  }
});

check('18 hostile text: copies are byte-equal, and a copied command does nothing else', async (on) => {
  await on.do('answer', { endpoint: 'orders', status: 200 });
  const body = `{"waybill_code":"COPY1", "cp_code":"zt","status":"signed",\r\n "x":${JSON.stringify(all)},"tail":"\\u0000 '"}`;
  await on.do('push', { bodies: [`{"type":"express_sub_msg","data":[${body}]}`] });
  const event = await until('it is delivered', async () => (await on.api('/events?waybill_code=COPY1&state=delivered')).body.events[0]);
  const page = await on.open(`/event?id=${event.id}`, { as: 'operator', permissions: ['clipboard-read', 'clipboard-write'] });
  await page.locator('#data [data-copy64]').click();
  assert.equal(await clipboard(page), body, 'the data as it came');
  const [file] = await Promise.all([page.waitForEvent('download'), page.locator('#data a[download]').click()]);
  assert.match(file.suggestedFilename(), /^kuairelay-evt_[0-9a-f]+\.json$/);
  assert.equal(readFileSync(await file.path(), 'utf8'), body);

  // The command, run by sh with something else in place of curl.
  await page.goto(`${on.base('operator')}/event/request?id=${event.id}&endpoint=shop/orders`);
  await page.locator('summary', { hasText: 'curl' }).click();
  await page.locator('details [data-copy64]').click();
  const script = await clipboard(page);
  const dir = mkdtempSync(join(tmpdir(), 'kuairelay-curl'));
  writeFileSync(join(dir, 'curl'), '#!/bin/sh\nfor a; do last=$a; done\nprintf %s "$last"\n');
  chmodSync(join(dir, 'curl'), 0o755);
  const out = execFileSync('sh', ['-c', script], { cwd: dir, env: { PATH: `${dir}:${process.env.PATH}` } });
  const sent = (await on.do('got', { endpoint: 'orders' })).find((r) => r.body.includes('"COPY1"'));
  const [got, want] = [JSON.parse(out.toString()), JSON.parse(sent.body)];
  assert.deepEqual(got.data, want.data, 'the body is the one that was sent');
  assert.deepEqual(readdirSync(dir), ['curl'], 'nothing else was made');

  // No cell of the file is a formula.
  await on.do('push', { updates: [{ waybill: 'CSV1', status: '=1+1' }, { waybill: '@SUM(A1)', status: '-2' }] });
  await page.goto(`${on.base('operator')}/events`);
  const [csv] = await Promise.all([page.waitForEvent('download'), page.locator('a[download]', { hasText: 'CSV' }).click()]);
  const text = readFileSync(await csv.path(), 'utf8');
  assert.match(text, /,'=1\+1,/);
  assert.doesNotMatch(text, /(^|,|\n)"?[=+@-][^,\n]*[A-Z(+]/);
});

check('19 numbers: data is shown as it came', async (on) => {
  const odd = '"big":9007199254740993,"huge":1e400,"zero":-0,"b":1,"a":2,"e":1.0E+2';
  await on.do('push', { bodies: [`{"type":"express_sub_msg","data":[{"waybill_code":"ODD1","cp_code":"zt","status":"signed",${odd}}]}`] });
  const event = await until('it is there', async () => (await on.api('/events?waybill_code=ODD1')).body.events[0]);
  const page = await on.open(`/event?id=${event.id}`, { as: 'operator' });
  for (const form of ['', '&form=raw', '&form=shop/orders']) {
    await page.goto(`${on.base('operator')}/event?id=${event.id}${form}`);
    const text = (await page.locator('#data-text').innerText()).replaceAll(/\s/g, '');
    assert.ok(text.includes(odd), `${form}: ${text}`);
  }
});
