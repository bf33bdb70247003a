// Every view in both themes and on a phone: it shows itself, nothing goes wrong on it, the policy holds, axe finds nothing serious.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { openBrowser, openPage, settled } from '../browser.mjs';
import { serve } from '../fake/server.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
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

const VIEWS = [
  { name: 'home', path: '/', shows: 'Health of edges' },
  { name: 'edges', path: '/edges', shows: '# Retransmissions' },
  { name: 'edge', path: '/edges/frontend/checkoutservice', shows: 'Where its time goes' },
  { name: 'map', path: '/map', shows: 'Legend', label: true },
  { name: 'map of a workload', path: '/map?workload=checkoutservice', shows: 'Receives from' },
  { name: 'alerts', path: '/alerts', shows: 'firing' },
  { name: 'diagnose', path: '/diagnose', shows: 'Explanations weighed' },
  { name: 'whose address', path: '/edges?why=10.0.0.4:5050', shows: 'Who held it' },
  { name: 'whose address, asked', path: '/?why=', shows: 'Names are remembered for a day' },
];

/** What axe calls serious or critical, in words. */
async function serious(page) {
  // Run through the debugger, which the page's policy does not bind.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
  return violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map(
      (v) =>
        `${v.id}: ${v.help}\n    ${v.nodes.map((n) => `${n.target.join(' ')}  ${n.failureSummary?.split('\n')[1]?.trim()}`).join('\n    ')}`,
    );
}

for (const view of VIEWS) {
  for (const look of [{ theme: 'light' }, { theme: 'dark', dark: true }, { theme: 'phone', width: 360, height: 740 }]) {
    test(`${view.name}, ${look.theme}`, async () => {
      fake.state.name = 'network';
      const { page, wrong } = await openPage(browser.context, look);
      await page.goto(fake.url + view.path);
      await settled(page);
      const shown = view.label ? page.getByLabel(view.shows) : page.getByText(view.shows, { exact: false }).first();
      assert.ok(await shown.isVisible(), `'${view.shows}' is not on the page`);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(over <= 0, `the page is ${over} px wider than the window`);
      assert.deepEqual(await serious(page), []);
      assert.deepEqual(wrong, []);
      await page.close();
    });
  }
}

const BANNERS = [
  [
    'network',
    /^Network·?\s*packet loss·?zone us-east-1b·?since \d\d:\d\d:\d\d·?\d+ of \d+ paths through it are bad·?\d+ of \d+ elsewhere·?\d+ workloads hit/,
  ],
  ['not_network', /^Not the network·?service slow·?workload paymentservice/],
  ['ambiguous', /^Ambiguous·?packet loss·?node node-2 or pod paymentservice-1/],
  ['cannot_say', /^Cannot say·?3 of 6 agents silent for \d+ (s|min)/],
  ['quiet', /^No network problem seen·?30 edges·?coverage 99.8\s%/],
  ['resolved', /^No network problem seen/],
  ['empty', /^Cannot say·?no agent reports/],
  ['down', /^Cannot say·?the store is not writable/],
];

for (const [name, wanted] of BANNERS) {
  test(`banner: ${name}`, async () => {
    fake.state.name = name;
    const { page } = await openPage(browser.context);
    await page.goto(`${fake.url}/map`);
    const line = page.locator('section[aria-label=Verdict] strong, section[role=alert] strong').first();
    await line.waitFor();
    const text = await line.locator('xpath=..').textContent();
    assert.match(text.replace(/\s*\n\s*/g, ''), new RegExp(wanted.source, 'i'));
    await page.close();
  });
}

test('simulated and insecure are marked', async () => {
  fake.state.name = 'simulated';
  const { page } = await openPage(browser.context);
  await page.goto(fake.url);
  await page.getByText('Simulated', { exact: true }).waitFor();
  await page.getByText('Insecure', { exact: true }).waitFor();
  await page.close();
});

test('without agents every view says how to get some', async () => {
  fake.state.name = 'empty';
  const { page } = await openPage(browser.context);
  for (const path of ['/', '/edges', '/map', '/alerts', '/diagnose']) {
    await page.goto(fake.url + path);
    await page.getByText('edgescope up').waitFor();
  }
  await page.close();
});
