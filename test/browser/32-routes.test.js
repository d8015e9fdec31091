import assert from 'node:assert/strict';
import { check } from './play.js';

const evil = '</textarea><script>window.pwned = 1</script>"><img src=x onerror="window.pwned = 1">\u202e';

check('32 routes: the page says of a sample what the API says', async (on) => {
  const event = { waybill_code: '777005949070187', cp_code: 'zt', status: 'question', note: evil, data: [] };
  for (const as of ['operator', 'shop']) {
    const page = await on.open('/routes', { as });
    await page.locator('textarea[name=text]').fill(JSON.stringify(event));
    await page.getByRole('button', { name: 'Who gets it?' }).click();
    await page.locator('section.explained').waitFor();
    assert.equal(await page.evaluate(() => window.pwned), undefined);
    assert.equal(await page.locator('textarea[name=text]').inputValue(), JSON.stringify(event), 'the text stays as it was');

    const { body } = await on.api('/explain', { as, method: 'POST', body: { event } });
    const [one] = body.events;
    const rows = page.locator('section.explained tr[data-endpoint]');
    assert.equal(await rows.count(), one.endpoints.length);
    for (const e of one.endpoints) {
      const words = (await page.locator(`section.explained tr[data-endpoint="${e.endpoint}"]`).textContent()).replace(/\s+/g, ' ');
      assert.match(words, e.owed ? /gets it/ : /does not get it/, e.endpoint);
      for (const r of e.routes) assert.ok(words.includes(r.at) && words.includes(r.why), `${r.at} ${r.why}: ${words}`);
    }

    // A test for the file is there to copy.
    await page.locator('details.as-test summary').first().click();
    assert.match(await page.locator('details.as-test pre').first().textContent(), /^tests:\n {2}- name: /);
  }
  const { body } = await on.api('/events', { as: 'operator' });
  assert.equal(body.events.length, 0, 'the page has sent nothing');
});

check('32 routes: an event and a waybill lead to an address that others can open', async (on) => {
  await on.do('push', { updates: [{ waybill: '555666777', status: 'signed' }] });
  const page = await on.open('/routes', { as: 'operator' });
  await page.locator('textarea[name=text]').fill(' 555 666 777 ');
  await page.getByRole('button', { name: 'Who gets it?' }).click();
  await page.waitForURL(/\/routes\?of=555666777$/);
  const link = await page.getByRole('link', { name: 'Link to this test' }).getAttribute('href');

  const other = await on.open(link, { as: 'operator' });
  await other.locator('section.explained tr[data-endpoint="crm/sync"]').waitFor();
  const mail = other.locator('section.explained tr[data-endpoint="crm/mail"]');
  assert.match(await mail.textContent(), /does not get it/);

  await page.goto(`${on.base('operator')}/routes?sample=signed`);
  assert.equal(JSON.parse(await page.locator('textarea[name=text]').inputValue()).status, 'signed');
});
