// Opens a page of the real interface in Chromium and prints, as JSON, what stands on it: `node look.mjs URL PATH [ALERT] [SCREENSHOT]`.
// With an alert's id the page is the one that the alert's own link leads to.
import { readFile } from 'node:fs/promises';
import { openBrowser, openPage, settled } from '../../ui/test/browser.mjs';

const [url, path, alert, screenshot] = process.argv.slice(2);
const browser = await openBrowser();
try {
  const { page, wrong } = await openPage(browser.context);
  await page.goto(url + path);
  await settled(page);
  if (alert) {
    await page.locator(`[id="alert-${alert}"]`).getByRole('link', { name: 'Edges', exact: true }).click();
    await page.waitForURL((at) => at.pathname === '/edges');
    await settled(page);
  }
  const seen = {
    address: page.url(),
    banner: await page.getByLabel('Verdict').innerText(),
    charts: await charts(page),
    rows: await rows(page),
    wrong,
  };
  if (screenshot) {
    await page.evaluate(() => scrollTo(0, 0));
    await settled(page);
    await page.screenshot({ path: screenshot });
  }
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}

/** Each chart with its series as the page can give them away, and how many pixels of it are inked. */
async function charts(page) {
  const found = [];
  for (const button of await page.getByRole('button', { name: /: more$/ }).all()) {
    const title = (await button.getAttribute('aria-label')).replace(/: more$/, '');
    const card = page.locator(`section[aria-label="${title}"]`);
    await button.click();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'Download CSV' }).click()]);
    const csv = await readFile(await download.path(), 'utf8');
    const ink = await card.locator('canvas').evaluateAll((list) =>
      list.map((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let i = 3; i < data.length; i += 4) if (data[i] > 0) count += 1;
        return count;
      }),
    );
    found.push({ title, csv, ink: ink.reduce((a, b) => a + b, 0) });
  }
  return found;
}

/** All rows of the table: names, and of each number what is shown and what its hover says. Only those in sight are on the page. */
async function rows(page) {
  const table = page.locator('[role=table]').first();
  if ((await table.count()) === 0) return [];
  const total = Number(await table.getAttribute('aria-rowcount')) - 1;
  const found = new Map();
  for (let turn = 0; found.size < total && turn < 1000; turn += 1) {
    const visible = await table.locator('[role=row][data-index]').evaluateAll((list) =>
      list.map((row) => ({
        index: Number(row.dataset.index),
        names: [...row.querySelectorAll('[role=cell] bdi[class*=name], [role=cell] span[title=unknown]')].map((n) => n.textContent),
        cells: Object.fromEntries(
          [...row.querySelectorAll('[role=cell][data-label]')].map((cell) => {
            const value = cell.querySelector('span[class*=value] span[title]');
            return [cell.dataset.label, { shown: value.textContent, exact: value.title }];
          }),
        ),
      })),
    );
    for (const row of visible) found.set(row.index, row);
    await page.mouse.wheel(0, 400);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  }
  return [...found.values()].sort((a, b) => a.index - b.index);
}
