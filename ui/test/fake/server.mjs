// Serves ui/dist and a generated API on loopback, with the headers that the real server sends. For tests and screenshots only.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { catalogue } from './catalogue.mjs';
import { asked } from './exchanges.mjs';
import { BadQuery } from './query.mjs';
import { scenario } from './scenarios.mjs';
import { why } from './why.mjs';

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** The policy that the interface promises to work under. */
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/** Starts it on a free port unless one is given; `state.name` may be changed while it runs. */
export async function serve({ name = 'network', port = 0, nowS = Date.now() / 1000, token } = {}) {
  const state = { name, requests: [], token };
  const made = new Map();
  const current = () => {
    if (!made.has(state.name)) made.set(state.name, scenario(state.name, nowS));
    return made.get(state.name);
  };
  const server = createServer((request, response) => {
    handle(request, response, state, current).catch((error) => {
      const bad = error instanceof BadQuery || error instanceof SyntaxError;
      if (!bad) console.error(error);
      json(
        response,
        bad ? 400 : 500,
        bad ? { error: error.message, field: 'filter', remedy: 'write a dimension such as source.zone' } : { error: String(error) },
      );
    });
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url, state, current, close };
}

function json(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}

async function handle(request, response, state, current) {
  const url = new URL(request.url, 'http://fake');
  if (!url.pathname.startsWith('/api/')) return file(url.pathname, response);
  state.requests.push(`${request.method} ${url.pathname}`);
  if (state.name === 'down')
    return json(response, 503, { error: 'the store is not writable', remedy: 'free space on the disk of store.path' });
  if (state.token && request.headers.authorization !== `Bearer ${state.token}`)
    return json(response, 401, { error: 'a token is needed', remedy: 'edgescope config token --role viewer' });
  const s = current();
  const path = url.pathname.replace('/api/v1', '');
  const inRange = (from, to) => {
    const [a, b] = [url.searchParams.get('from'), url.searchParams.get('to')];
    return (!b || Date.parse(from) < Date.parse(b)) && (!a || !to || Date.parse(to) > Date.parse(a));
  };
  const [, kind, id] = path.split('/');
  switch (kind) {
    case 'edges':
      return json(response, 200, { ...s.edgesAnswer(JSON.parse(await body(request))), coverage: s.coverage(), own_hidden: true });
    case 'dns':
      return json(response, 200, asked(url.searchParams));
    case 'catalogue':
      return json(response, 200, catalogue);
    case 'status':
      return json(response, 200, s.status());
    case 'why':
      return json(response, 200, why(s, url.searchParams, Math.floor(Date.now() / 1000)));
    case 'coverage':
      return json(response, 200, s.coverage());
    case 'diagnose':
      return json(response, 200, s.diagnose(url.searchParams.get('workload')));
    case 'alerts':
    case 'incidents': {
      const list = kind === 'alerts' ? s.alerts() : s.incidents();
      if (!id) {
        const within = list.filter((x) => inRange(x.since, x.resolved_at ?? x.closed_at));
        return json(response, 200, { [kind]: within, total: within.length });
      }
      const one = list.find((x) => x.id === decodeURIComponent(id));
      const full = kind === 'incidents' ? { alerts_full: s.alerts() } : {};
      return one ? json(response, 200, { ...one, ...full }) : json(response, 404, { error: `no ${kind.slice(0, -1)} with id '${id}'` });
    }
    default:
      return json(response, 404, { error: `no such API path: ${url.pathname}` });
  }
}

async function body(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
}

async function file(path, response) {
  const inside = normalize(join(DIST, path));
  // As the server does: a view's address may hold a name with dots in it, such as 198.51.100.0/24.
  const isFile = inside.startsWith(DIST) && extname(inside) in TYPES;
  const wanted = isFile ? inside : join(DIST, 'index.html');
  try {
    const data = await readFile(wanted);
    response.writeHead(200, {
      'content-type': TYPES[extname(wanted)] ?? 'application/octet-stream',
      'content-security-policy': POLICY,
      'x-content-type-options': 'nosniff',
    });
    response.end(data);
  } catch {
    response.writeHead(404).end('not found: run npm run build first');
  }
}
