import assert from 'node:assert/strict';
import { check, stage } from './play.js';
import { pagesOf, tenants } from './looks.js';

stage({ tenants });

const zones = ['Asia/Shanghai', 'UTC', 'America/New_York'];

// shown are the times of a page: the instant, what a reader sees, and what stands in the tooltip.
const shown = (page) =>
  page.locator('main time[datetime]').evaluateAll((all) => all.map((t) => [t.dateTime, t.textContent, t.title]));

// isAt says whether a text is the time of an instant in a zone: 02:28:58, or 02:28:58.036.
function isAt(text, at, zone) {
  const clock = new Intl.DateTimeFormat('en-GB', { timeZone: zone, timeStyle: 'medium' }).format(new Date(at));
  return text.replace(/\.\d{3}$/, '').endsWith(clock);
}

check('22 times: the same instants in each zone, in 24 hours', async (on) => {
  const { event } = await pagesOf(on, 'operator');
  const instants = {};
  for (const zone of zones) {
    for (const locale of ['en-US', 'zh-CN']) {
      const page = await on.open(event, { as: 'operator', timezoneId: zone, locale });
      const times = await shown(page);
      assert.ok(times.length > 3);
      instants[`${zone} ${locale}`] = times.map(([at]) => at);
      for (const [at, text, exact] of times) {
        assert.ok(isAt(text, at, zone), `${at} in ${zone} is shown as ${text}`);
        assert.ok(exact.startsWith(at.slice(0, 10)) && exact.endsWith(' UTC'), exact);
      }
      await page.context().close();
    }
  }
  for (const of of Object.values(instants)) assert.deepEqual(of, instants['UTC en-US']);
});

check('22 times: a zone that was chosen is kept, and stands in the header', async (on) => {
  const { event } = await pagesOf(on, 'operator');
  const page = await on.open(event, { as: 'operator', timezoneId: 'America/New_York' });
  const menu = page.locator('header details:has([data-clock])');
  for (const [name, offset] of [
    ['UTC', '+00'],
    ['Asia/Shanghai', '+08'],
  ]) {
    await menu.locator('summary').click();
    await menu.locator(`a[href*="tz=${encodeURIComponent(name)}"]`).click();
    await page.goto(on.base('operator') + event);
    assert.ok((await menu.locator('summary').innerText()).trim().endsWith(offset));
    const [[at, text]] = await shown(page);
    assert.ok(isAt(text, at, name), `${at} in ${name} is shown as ${text}`);
  }
});

check('22 times: fields take times in the zone, and the link is the same for everybody', async (on) => {
  const { events } = await pagesOf(on, 'operator');
  for (const [zone, from] of [
    ['Asia/Shanghai', '2026-11-01T13:30:15'],
    ['UTC', '2026-11-01T05:30:15'],
    ['America/New_York', '2026-11-01T01:30:15'],
  ]) {
    const page = await on.open(events, { as: 'operator', timezoneId: zone });
    await page.locator('.pick:has(input[name=from]) summary').click();
    await page.locator('input[name=from]').fill(from);
    await page.locator('.pick:has(input[name=from]) button').click();
    await page.waitForURL(/since=/);
    assert.equal(new URL(page.url()).searchParams.get('since'), '2026-11-01T05:30:15Z', zone);
    assert.equal(
      await page.locator('input[name=from]').inputValue(),
      from,
      `the field says what was filled in: ${zone}`,
    );
    await page.context().close();
  }
});

check('22 times: while clocks are put back, a link says which of two hours it means', async (on) => {
  // New York puts its clocks back at 06:00 UTC: 01:30 comes at 05:30 and again at 06:30.
  const times = { as: 'operator', timezoneId: 'America/New_York' };
  const page = await on.open('/events?since=2026-11-01T05:30:15Z&until=2026-11-01T06:30:15Z', times);
  assert.equal(await page.locator('input[name=from]').inputValue(), '2026-11-01T01:30:15');
  const links = await page.locator('main a[href*="since="]').evaluateAll((all) => all.map((a) => a.href));
  assert.ok(links.length > 0);
  for (const link of links) {
    const { searchParams } = new URL(link);
    if (/^\d{4}/.test(searchParams.get('since'))) assert.equal(searchParams.get('since'), '2026-11-01T05:30:15Z', link);
    if (searchParams.has('until')) assert.equal(searchParams.get('until'), '2026-11-01T06:30:15Z', link);
  }
});
