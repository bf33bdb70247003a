// `npm run shots -- DIR [name…]`: screenshots of every view on generated data, to be looked at.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openBrowser, openPage, settled } from './browser.mjs';
import { serve } from './fake/server.mjs';

const [dir, ...only] = process.argv.slice(2);
if (!dir) {
  console.error('usage: npm run shots -- DIR [name…]');
  process.exit(2);
}

const edge = '/edges/frontend/checkoutservice';
const SHOTS = [
  { name: 'home', path: '/', state: 'network' },
  { name: 'home-dark', path: '/', state: 'network', dark: true },
  { name: 'home-quiet', path: '/', state: 'quiet' },
  { name: 'home-empty', path: '/', state: 'empty' },
  { name: 'home-silent', path: '/', state: 'cannot_say' },
  { name: 'home-ambiguous', path: '/', state: 'ambiguous' },
  { name: 'home-not-network', path: '/', state: 'not_network', dark: true },
  { name: 'home-phone', path: '/', state: 'network', width: 360, height: 740 },
  { name: 'home-down', path: '/', state: 'down' },
  { name: 'edges', path: '/edges', state: 'network' },
  { name: 'edges-dark', path: '/edges?compare=previous', state: 'network', dark: true },
  { name: 'edges-phone', path: '/edges', state: 'network', width: 360, height: 740 },
  {
    name: 'edges-hover',
    path: '/edges',
    state: 'network',
    act: (page) => page.hover('section[aria-label="# Retransmissions"] .u-over', { position: { x: 190, y: 60 } }),
  },
  { name: 'edges-filter', path: '/edges', state: 'network', act: typeFilter },
  { name: 'edges-time', path: '/edges', state: 'simulated', act: (page) => page.keyboard.press('t') },
  { name: 'edge', path: edge, state: 'network', full: true },
  { name: 'edge-dark', path: edge, state: 'network', dark: true, full: true },
  { name: 'edge-phone', path: edge, state: 'network', width: 360, height: 740, full: true },
  { name: 'edge-dns', path: '/edges/checkoutservice/emailservice', state: 'quiet', full: true },
  { name: 'map', path: '/map', state: 'network' },
  { name: 'map-dark', path: '/map?metric=loss', state: 'network', dark: true },
  { name: 'map-workload', path: '/map?workload=checkoutservice', state: 'network' },
  { name: 'map-edge', path: '/map?source=frontend&dest=checkoutservice', state: 'network' },
  { name: 'map-phone', path: '/map', state: 'network', width: 360, height: 740 },
  { name: 'map-large', path: '/map', state: 'large' },
  { name: 'alerts', path: '/alerts', state: 'network' },
  { name: 'alerts-dark', path: '/alerts', state: 'resolved', dark: true },
  { name: 'alerts-phone', path: '/alerts', state: 'network', width: 360, height: 740 },
  { name: 'diagnose', path: '/diagnose', state: 'network', full: true },
  { name: 'diagnose-dark', path: '/diagnose', state: 'not_network', dark: true, full: true },
  { name: 'diagnose-ambiguous', path: '/diagnose', state: 'ambiguous', full: true },
  { name: 'diagnose-quiet', path: '/diagnose', state: 'quiet', full: true },
  { name: 'diagnose-phone', path: '/diagnose', state: 'network', width: 360, height: 740, full: true },
  { name: 'why', path: '/edges?why=10.0.0.4:5050', state: 'network' },
  { name: 'why-dark', path: '/edges?why=198.51.100.7&why_at=-2h', state: 'outside', dark: true },
  { name: 'why-phone', path: '/edges?why=10.0.0.4:5050', state: 'network', width: 360, height: 740 },
  { name: 'why-ask', path: '/?why=', state: 'quiet' },
  { name: 'why-end', path: '/edges/checkoutservice/198.51.100.0%2F24', state: 'outside', act: whyDest },
  { name: 'why-end-phone', path: '/edges/checkoutservice/198.51.100.0%2F24', state: 'outside', width: 360, height: 740, act: whyDest },
  { name: 'why-rows', path: '/edges?filter=dest.node+%3D+%27%27', state: 'outside' },
  { name: 'why-rows-phone', path: '/edges?filter=dest.node+%3D+%27%27', state: 'outside', width: 360, height: 740 },
  { name: 'help', path: '/', state: 'quiet', act: (page) => page.keyboard.press('?') },
];

async function typeFilter(page) {
  await page.keyboard.press('/');
  await page.keyboard.type("source.zone = 'us");
  await page.waitForTimeout(400);
}

async function whyDest(page) {
  await page
    .getByRole('button', { name: /^Why 198/ })
    .first()
    .click();
  await page.getByText('Found by').waitFor();
}

await mkdir(dir, { recursive: true });
const fake = await serve();
const browser = await openBrowser();
let failed = 0;
try {
  for (const shot of SHOTS.filter((s) => only.length === 0 || only.includes(s.name))) {
    fake.state.name = shot.state;
    const { page, wrong } = await openPage(browser.context, shot);
    await page.goto(fake.url + shot.path);
    await settled(page).catch((e) => wrong.push(String(e).split('\n')[0]));
    await shot.act?.(page);
    await settled(page).catch((e) => wrong.push(String(e).split('\n')[0]));
    await page.screenshot({ path: join(dir, `${shot.name}.png`), fullPage: shot.full ?? false });
    const bad = wrong.filter((w) => shot.state !== 'down' || !w.includes('503'));
    if (bad.length) failed += 1;
    console.log(`${shot.name}.png${bad.length ? `  ${[...new Set(bad)].join('\n    ')}` : ''}`);
    await page.close();
  }
} finally {
  await browser.close();
  await fake.close();
}
process.exit(failed ? 1 : 0);
