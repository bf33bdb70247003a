// Writes src/api/schema.d.ts from the server's description of its API (`openapi/server.json`, or the file that is given).
// With --check it writes nothing and fails if the two have come apart.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import openapiTS, { astToString } from 'openapi-typescript';

const HEAD = '// Generated from openapi/server.json by `npm run generate`; do not edit.\n';
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const check = process.argv.includes('--check');
const source = process.argv.slice(2).find((a) => !a.startsWith('-')) ?? here('../../openapi/server.json');
const target = here('../src/api/schema.d.ts');

if (!existsSync(source)) {
  console.error(`${source} is not there: nothing to ${check ? 'compare with' : 'generate from'}`);
  process.exit(check ? 0 : 1);
}
const api = JSON.parse(readFileSync(source, 'utf8'));
// The client goes by paths. Operation ids would only make names for types that nothing uses, and break where two are alike.
for (const path of Object.values(api.paths)) for (const operation of Object.values(path)) delete operation.operationId;
const made = HEAD + astToString(await openapiTS(api, { alphabetize: true }));
if (!check) writeFileSync(target, made);
else if (readFileSync(target, 'utf8') !== made) {
  console.error('src/api/schema.d.ts does not follow openapi/server.json: run npm run generate');
  process.exit(1);
}
