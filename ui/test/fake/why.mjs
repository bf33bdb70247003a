// Whose address it is, as the server tells it: of the shop's pods, of who held an address before, and of ends outside.
import { BadQuery } from './query.mjs';

const iso = (s) => new Date(s * 1000).toISOString().replace('.000Z', 'Z');
const V4 = /^\d{1,3}(\.\d{1,3}){3}$/;
const V6 = /^[0-9a-f]*(:[0-9a-f]*){2,7}$/i;

/** `address` or `address:port`, as two values. */
function readEnd(text) {
  const [, bracketed, port6] = /^\[(.+)\]:(\d+)$/.exec(text) ?? [];
  const [, v4, port4] = /^([\d.]+):(\d+)$/.exec(text) ?? [];
  const [address, port] = [bracketed ?? v4 ?? text, Number(port6 ?? port4 ?? 0) || null];
  if (!V4.test(address) && !V6.test(address)) throw new BadQuery(`address: '${text}' is no address`);
  return { address, port };
}

/** The moment that is asked about, in seconds. */
function readAt(text, nowS) {
  if (!text || text === 'now') return nowS;
  const [, number, unit] = /^-(\d+)([smhd])$/.exec(text) ?? [];
  const at = number ? nowS - Number(number) * { s: 1, m: 60, h: 3600, d: 86_400 }[unit] : Date.parse(text) / 1000;
  if (Number.isNaN(at)) throw new BadQuery(`at: cannot read '${text}'`);
  return at;
}

/** Addresses of the made-up pods, in the order in which the shop makes them: 10.0.0.1 and on. */
function pods(edges) {
  const all = new Map();
  for (const end of edges.flatMap((e) => [e.source, e.dest])) if (end.pod && !all.has(end.pod)) all.set(end.pod, end);
  return [...all.values()].map((end, i) => [`10.0.0.${i + 1}`, end]);
}

/** The answer of `/api/v1/why`. */
export function why(scenario, params, nowS) {
  const { address, port } = readEnd(params.get('address') ?? '');
  const at = readAt(params.get('at'), nowS);
  const { startS } = scenario.plan;
  const [, owner] = pods(scenario.edges).find(([ip]) => ip === address) ?? [];
  const outside = scenario.edges.flatMap((e) => [e.source, e.dest]).find((end) => end.ip === address);
  const said = (end) => ({ ...end, ip: '' });
  const base = { address, port, at: iso(at) };
  if (!owner) {
    const privately = address.startsWith('10.') || address.startsWith('fd');
    const name = outside ?? { workload: address, resolution_type: 'ip', ip: address };
    const reason =
      name.resolution_type === 'aws'
        ? "no agent holds it and no rule names it: its provider's published list does, 3.5.0.0/19 of ip-ranges.json"
        : privately
          ? 'no agent has ever held it and no rule names it: run an agent on its host, or name it by a rule (identity.rules)'
          : 'no agent holds it and no rule names it: public addresses are grouped by their prefix';
    return { ...base, name, owned: false, named: true, reason, claims: [], claims_total: 0 };
  }
  const moved = startS + 3600;
  const now = { agent: owner.node, port: 0, owner: said(owner), shared: false, from: iso(moved), until: iso(nowS), open: true };
  const before = { ...said(owner), workload: 'currencyservice', pod: 'currencyservice-old' };
  const old = { ...now, owner: before, from: iso(startS), until: iso(moved), open: false };
  const isOld = at < moved;
  return {
    ...base,
    name: isOld ? before : said(owner),
    owned: true,
    named: true,
    reason: `agent ${owner.node} holds the address: a static rule of its own names it`,
    claims: [now, old],
    claims_total: 4,
  };
}
