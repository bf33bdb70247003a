// Whose address it is: beside an end, beside the lack of a name, and for any address at any time.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { openBrowser, openPage, settled } from '../browser.mjs';
import { serve } from '../fake/server.mjs';

let fake;
let browser;

before(async () => {
  fake = await serve();
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await fake?.close();
});
beforeEach(() => {
  fake.state.name = 'network';
});

async function at(path, look) {
  const { page, wrong } = await openPage(browser.context, look);
  await page.goto(fake.url + path);
  await settled(page);
  return { page, wrong };
}

const search = (page) => Object.fromEntries(new URL(page.url()).searchParams);
const dialog = (page) => page.getByRole('dialog', { name: 'Whose address' });
/** What the page says against what the API says, line by line. */
const asked = async (query) => (await fetch(`${fake.url}/api/v1/why?${query}`)).json();

test('a key opens it, an address and a time are asked about, and a link shows the same', async () => {
  const { page, wrong } = await at('/edges');
  await page.keyboard.press('w');
  await dialog(page).waitFor();
  assert.equal(search(page).why, '');
  // The field has the keyboard: nothing else has to be pressed.
  await page.waitForFunction(() => document.activeElement?.tagName === 'INPUT');
  await page.keyboard.type('10.0.0.4:5050');
  await page.keyboard.press('Enter');
  await dialog(page).getByText('Who held it').first().waitFor();
  assert.deepEqual([search(page).why, search(page).why_at], ['10.0.0.4:5050', undefined]);
  const api = await asked('address=10.0.0.4:5050');
  await dialog(page).getByText(api.reason).waitFor();
  await dialog(page).locator('strong').getByText(api.name.workload, { exact: true }).waitFor();
  const held = await dialog(page).getByRole('list', { name: 'Who held it' }).locator('li').allTextContents();
  assert.equal(held.length, api.claims.length);
  for (const [i, claim] of api.claims.entries()) {
    for (const part of [claim.owner.workload, claim.owner.pod, claim.agent]) assert.ok(held[i].includes(part), `${held[i]} lacks ${part}`);
    assert.equal(held[i].includes('– now'), claim.open);
  }
  await dialog(page).getByText('and 2 more claims').waitFor();
  // Earlier it was somebody else's.
  await dialog(page).getByLabel('At', { exact: true }).fill('-3h');
  await page.keyboard.press('Enter');
  await dialog(page).locator('strong').getByText('currencyservice', { exact: true }).waitFor();
  assert.equal(search(page).why_at, '-3h');
  const other = await at(new URL(page.url()).pathname + new URL(page.url()).search);
  await dialog(other.page).locator('strong').getByText('currencyservice', { exact: true }).waitFor();
  await other.page.close();
  await page.keyboard.press('Escape');
  await dialog(page).waitFor({ state: 'hidden' });
  assert.deepEqual([search(page).why, search(page).why_at], [undefined, undefined]);
  assert.deepEqual(wrong, []);
  await page.close();
});

test('the edge’s page explains both ends', async () => {
  fake.state.name = 'outside';
  const { page, wrong } = await at('/edges/checkoutservice/198.51.100.0%2F24');
  await page.getByRole('button', { name: 'Why checkoutservice' }).first().click();
  let card = page.getByRole('dialog', { name: 'Why checkoutservice' });
  await card.getByText('a static rule of the configuration').waitFor();
  await card.getByText('Rows keep the address of an end without a name only').waitFor();
  await page.keyboard.press('Escape');
  await card.waitFor({ state: 'hidden' });
  // The keyboard is back where it was.
  await page.waitForFunction(() => document.activeElement?.getAttribute('aria-label') === 'Why checkoutservice');

  await page.getByRole('button', { name: 'Why 198.51.100.0/24' }).first().click();
  card = page.getByRole('dialog', { name: 'Why 198.51.100.0/24' });
  await card.getByText('a public address, shown by its prefix').waitFor();
  // With the port that they serve.
  assert.deepEqual((await card.getByRole('list', { name: 'Addresses' }).locator('li').allTextContents()).sort(), [
    '198.51.100.7:443',
    '198.51.100.9:443',
  ]);
  await card.getByRole('button', { name: 'Explain 198.51.100.9:443' }).click();
  await dialog(page).getByText('public addresses are grouped by their prefix').waitFor();
  await dialog(page).getByText('Nobody, as far as is remembered').waitFor();
  assert.equal(search(page).why, '198.51.100.9:443');
  assert.deepEqual(wrong, []);
  await page.close();
});

test('rows without a name have the control, rows with one have not', async () => {
  fake.state.name = 'outside';
  const { page } = await at("/edges?filter=dest.node+%3D+''&sort=dest.workload");
  const names = await page.locator('[role=row] button[aria-label^="Why "]').evaluateAll((l) => l.map((b) => b.getAttribute('aria-label')));
  assert.deepEqual(names.sort(), ['Why 198.51.100.0/24', 'Why fd00:9::7']);
  await page.getByRole('button', { name: 'Why fd00:9::7' }).click();
  await page.getByRole('button', { name: 'Explain [fd00:9::7]:443' }).click();
  await dialog(page).getByText('run an agent on its host, or name it by a rule').waitFor();
  await page.close();
});

test('a list of the configuration is told with its block', async () => {
  fake.state.name = 'outside';
  const { page } = await at('/edges/checkoutservice/aws%20s3%20us-east-1');
  await page.getByRole('button', { name: 'Why aws s3 us-east-1' }).first().click();
  await page.getByText('AWS’s published list').waitFor();
  await page.getByRole('button', { name: 'Explain 3.5.0.17:443' }).click();
  await dialog(page).getByText('3.5.0.0/19 of ip-ranges.json').waitFor();
  await page.close();
});

test('a range that stands still is explained as of its end', async () => {
  fake.state.name = 'outside';
  const end = Math.floor(Date.now() / 10_000) * 10_000 - 60_000;
  const [from, to] = [end - 600_000, end].map((t) => new Date(t).toISOString().replace('.000Z', 'Z'));
  const { page } = await at(`/edges/checkoutservice/fd00:9::7?from=${from}&to=${to}`);
  await page.getByRole('button', { name: 'Why fd00:9::7' }).first().click();
  await page.getByRole('button', { name: 'Explain [fd00:9::7]:443' }).click();
  await dialog(page).waitFor();
  assert.equal(search(page).why_at, to);
  await page.close();
});

test('what cannot be read is said, by the page or by the server', async () => {
  const { page } = await at('/?why=cart');
  await dialog(page).getByText("'cart' is no address").waitFor();
  await dialog(page).getByLabel('At', { exact: true }).fill('yesterday');
  await dialog(page).getByRole('button', { name: 'Explain' }).click();
  await dialog(page).getByText("cannot read 'yesterday'").waitFor();
  assert.equal(search(page).why_at, undefined);
  await page.close();
});

test('names stay text, and the copied command is one argument each', async () => {
  fake.state.name = 'hostile';
  await browser.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: fake.url });
  for (let i = 1; i <= 24; i += 1) {
    const { page, wrong } = await openPage(browser.context, { width: 360, height: 740 });
    await page.goto(`${fake.url}/edges?from=-1m&why=10.0.0.${i}`);
    await dialog(page).getByText('Who held it').first().waitFor();
    assert.equal(await page.evaluate(() => globalThis.__pwned), undefined);
    assert.equal(await page.locator('img[src=x]').count(), 0);
    const over = await dialog(page).evaluate((d) => d.scrollWidth - d.clientWidth);
    assert.ok(over <= 0, `10.0.0.${i}: the dialog is ${over} px too wide`);
    assert.deepEqual(wrong, []);
    await page.close();
  }
  const { page } = await at(`/?why=${encodeURIComponent('10.0.0.1')}&why_at=${encodeURIComponent('-1h')}`);
  await dialog(page)
    .getByRole('button', { name: /edgescope why/ })
    .click();
  await page.getByText('Command copied').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'edgescope why 10.0.0.1 --at -1h');
  await page.close();
});
