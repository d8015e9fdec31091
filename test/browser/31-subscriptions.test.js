import assert from 'node:assert/strict';
import { check, until } from './play.js';

// subscribe fills in the form of the page.
async function subscribe(page, codes, brand = 'zt') {
  await page.locator('summary', { hasText: 'Subscribe' }).click();
  await page.locator('textarea[name=codes]').fill(codes);
  await page.locator('select[name=cp_code]').selectOption(brand);
  await page.locator('form.pop button').click();
}

const results = (page) => page.locator('section[role=status]');
const row = (page, code) => page.locator('#rows tr', { has: page.getByText(code, { exact: true }) });
const click = (where, name) => where.getByRole('button', { name, exact: true }).click();

for (const [as, mark] of [['shop', '1'], ['operator', '2']]) {
  check(`31 subscriptions: subscribed, refused, asked again and ended by ${as} on the page`, async (on) => {
    const [good, unknown, wrong] = ['10', '20', '30'].map((n) => `SUB${n}${mark}`);
    await on.newStage({ relays: 1 });
    await on.do('provider', { unknown: [unknown], wrong: [wrong] });
    const path = as === 'shop' ? '/subscriptions' : '/subscriptions?tenant=shop';
    const page = await on.open(path, { as });
    await subscribe(page, `${good}\n${unknown}，${wrong}`);

    // The page says what became of each, in words, and lists them as the API does.
    const said = await results(page).innerText();
    assert.match(said, new RegExp(`${good}.*subscribed`));
    assert.match(said, new RegExp(`${unknown}.*pending.*201101 kuaidihelp has no record of it yet.*It is asked again at.*\\d\\d:\\d\\d`));
    assert.match(said, new RegExp(`${wrong}.*failed.*201102 kuaidihelp says that it cannot be right`));
    await page.goto(on.base(as) + path);
    const list = async () => (await on.api('/subscriptions', { as: 'shop' })).body.subscriptions;
    const all = await list();
    assert.equal(await page.locator('#rows tr').count(), all.length);
    for (const s of all) assert.ok((await row(page, s.waybill_code).innerText()).includes(s.state), `${s.waybill_code} is ${s.state}`);
    assert.deepEqual(all.map((s) => s.state).sort(), ['failed', 'live', 'pending']);
    const figures = await page.locator('.figures .value').allInnerTexts();
    assert.deepEqual(figures.slice(0, 4), ['3', '1', '1', '1'], 'all, live, pending, failed');

    // One is asked for again: first it is refused again, then it is right.
    assert.equal(await page.getByRole('button', { name: 'Ask again', exact: true }).count(), 1, 'of the one that failed');
    await click(row(page, wrong), 'Ask again');
    await results(page).getByText('201102').waitFor();
    await on.do('provider');
    await page.goto(on.base(as) + path);
    await click(page.locator('main'), 'Ask again for these 1');
    await results(page).getByText(wrong).waitFor();
    await until('it is live', async () => (await list()).find((s) => s.waybill_code === wrong).state === 'live');

    // One is ended, and a filter finds one alone.
    await page.goto(on.base(as) + path);
    await click(row(page, good), 'Unsubscribe');
    await page.getByText('To undo this, subscribe it again.').waitFor();
    assert.equal(await row(page, good).count(), 0);
    assert.equal((await on.api(`/subscriptions/zt/${good}`, { as: 'shop' })).status, 404);
    await page.locator('form.filter input[name=waybill_code]').fill(unknown);
    await page.locator('form.filter button').click();
    await page.waitForURL(/waybill_code=/);
    assert.equal(await page.locator('#rows tr').count(), 1);
    await row(page, unknown).waitFor();

    const { body } = await on.api('/audit?what=unsubscribe');
    assert.deepEqual(body.acts.map((a) => [a.by.name, a.subject]), [[as, `zt ${good}`]]);

    await page.goto(on.base(as) + path);
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Export' }).click()]);
    assert.equal(file.suggestedFilename(), 'subscriptions-shop.jsonl');

    const crm = await on.open('/subscriptions', { as: 'crm' });
    assert.doesNotMatch(await crm.locator('main').innerText(), /SUB\d|shop/, 'crm sees nothing of shop');
  });
}
