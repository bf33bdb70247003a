// Prints what the first view loads, compressed, and fails above the budget: people open this page at night over a phone.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const BUDGET_KB = 400;
const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const size = (path) => gzipSync(readFileSync(dist + path), { level: 9 }).length;
const html = readFileSync(`${dist}index.html`, 'utf8');

// Scripts and styles that the page names, and the scripts that those import at once. Of the font only the part with Latin letters is fetched.
const first = new Set([...html.matchAll(/(?:src|href)="\/([^"]+\.(?:js|css))"/g)].map((m) => m[1]));
for (const path of first) {
  if (!path.endsWith('.js')) continue;
  for (const [, name] of readFileSync(dist + path, 'utf8').matchAll(/(?:import|from)\s*"\.\/([^"]+\.js)"/g)) first.add(`assets/${name}`);
}
const font = readdirSync(`${dist}assets`).find((name) => /inter-latin-wght-normal.*\.woff2$/.test(name));
const rows = [...first].map((path) => [path, size(path)]);
if (font) rows.push([`assets/${font}`, readFileSync(`${dist}assets/${font}`).length]);
rows.sort((a, b) => b[1] - a[1]);
const kb = (bytes) => (bytes / 1000).toFixed(1).padStart(7);
for (const [path, bytes] of rows) console.log(`${kb(bytes)} kB  ${path}`);
const total = rows.reduce((sum, [, bytes]) => sum + bytes, 0);
console.log(`${kb(total)} kB  first view, gzip (budget ${BUDGET_KB} kB)`);
if (total > BUDGET_KB * 1000) {
  console.error('the first view is over its budget: split something off');
  process.exit(1);
}
