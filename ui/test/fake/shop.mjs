// A made-up shop for tests and screenshots of the interface alone: every number here is generated, none was measured.
import { tellExchanges } from './exchanges.mjs';
import { histogram } from './histogram.mjs';

const CALLS = [
  ['loadgenerator', 'frontend', 8080],
  ['frontend', 'checkoutservice', 5050],
  ['frontend', 'cartservice', 7070],
  ['frontend', 'productcatalogservice', 3550],
  ['frontend', 'recommendationservice', 8081],
  ['frontend', 'adservice', 9555],
  ['frontend', 'currencyservice', 7000],
  ['checkoutservice', 'cartservice', 7070],
  ['checkoutservice', 'currencyservice', 7000],
  ['checkoutservice', 'emailservice', 8025],
  ['checkoutservice', 'paymentservice', 50051],
  ['checkoutservice', 'productcatalogservice', 3550],
  ['checkoutservice', 'shippingservice', 50052],
  ['cartservice', 'redis-cart', 6379],
  ['recommendationservice', 'productcatalogservice', 3550],
];

export const ZONES = ['us-east-1a', 'us-east-1b', 'us-east-1c'];
export const NODES = ZONES.flatMap((zone, z) => [1, 2].map((n) => ({ node: `node-${z * 2 + n}`, zone })));

/** A number in 0..1 that follows from what is given. */
export function noise(...parts) {
  let h = 2166136261;
  for (const part of parts) {
    for (const c of String(part)) h = Math.imul(h ^ c.charCodeAt(0), 16777619);
    h = Math.imul(h ^ 0x9e37, 16777619);
  }
  h ^= h >>> 15;
  h = Math.imul(h, 2246822519);
  h ^= h >>> 13;
  return (h >>> 0) / 4294967296;
}

function pods(workload, replicas, offset) {
  return Array.from({ length: replicas }, (_, i) => {
    const place = NODES[(offset + i * 2) % NODES.length];
    return {
      workload,
      namespace: 'shop',
      ...place,
      region: 'us-east-1',
      environment: 'demo',
      pod: `${workload}-${i + 1}`,
      resolution_type: 'rule',
      ip: '',
      process: '',
      image: '',
    };
  });
}

/** Directed edges between pods: for each call what the client sends (role client) and what the server answers (role server). */
export function shop(rename = (name) => name) {
  const names = [...new Set(CALLS.flatMap(([from, to]) => [from, to]))];
  const place = Object.fromEntries(names.map((name, i) => [name, pods(rename(name), name === 'loadgenerator' ? 3 : 2, i)]));
  const edges = [];
  for (const [from, to, port] of CALLS) {
    for (const source of place[from]) {
      for (const dest of place[to]) {
        const weight = (from === 'loadgenerator' || to === 'checkoutservice' ? 3 : 1) + 2 * noise('weight', from, to);
        edges.push({
          source,
          dest,
          port: String(port),
          role: 'client',
          protocol: 'tcp',
          request: weight * 400 + 1500 * noise('request', from, to),
          weight,
        });
        edges.push({
          source: dest,
          dest: source,
          port: String(port),
          role: 'server',
          protocol: 'tcp',
          request: weight * 900 + 5000 * noise('answer', from, to) ** 2,
          weight,
        });
      }
    }
  }
  return edges;
}

/** Ends beyond the agents: one that a list of networks names, a public one by its prefix, a private one that nobody knows. */
const OUTSIDE = [
  { workload: 'aws s3 us-east-1', region: 'us-east-1', resolution_type: 'aws', ip: '3.5.0.17' },
  { workload: '198.51.100.0/24', resolution_type: 'prefix', ip: '198.51.100.7' },
  { workload: '198.51.100.0/24', resolution_type: 'prefix', ip: '198.51.100.9' },
  { workload: 'fd00:9::7', resolution_type: 'ip', ip: 'fd00:9::7' },
];

/** The shop, and what its checkout asks of the outside. */
export function withOutside() {
  const edges = shop();
  const { source } = edges.find((e) => e.source.workload === 'checkoutservice');
  const nobody = { namespace: '', node: '', zone: '', region: '', environment: '', pod: '', process: '', image: '' };
  for (const end of OUTSIDE) {
    const call = { source, dest: { ...nobody, ...end }, port: '443', role: 'client', protocol: 'tcp', request: 900, weight: 1 };
    edges.push(call, { ...call, source: call.dest, dest: source, role: 'server', request: 4000 });
  }
  return edges;
}

/** Ten thousand pod-level edges of made-up workloads, to feel how the views hold up. */
export function large() {
  const edges = [];
  for (let i = 0; i < 10_000; i += 1) {
    const a = Math.floor(noise('a', i) * 1900);
    const b = (a + 1 + Math.floor(noise('b', i) * 90)) % 2000;
    const end = (n) => ({ ...pods(`svc-${String(n).padStart(4, '0')}`, 1, n)[0], namespace: `team-${n % 23}` });
    edges.push({
      source: end(a),
      dest: end(b),
      port: '8080',
      role: i % 2 ? 'client' : 'server',
      protocol: 'tcp',
      request: 300 + 9000 * noise('r', i),
      weight: 0.2 + noise('w', i),
    });
  }
  return edges;
}

/** Whether the zone's border is on the way. */
export const crosses = (zone) => (e) => (e.source.zone === zone) !== (e.dest.zone === zone);

/** What is wrong on an edge, 0..1 by kind, in the fault of a scenario. */
function trouble(scenario, edge) {
  if (scenario.fault === 'loss' && crosses(scenario.zone)(edge))
    return { loss: 0.11 + 0.05 * noise('loss', edge.source.pod, edge.dest.pod) };
  if (scenario.fault === 'slow_service') {
    const client = edge.role === 'client' ? edge.source.workload : edge.dest.workload;
    const server = edge.role === 'client' ? edge.dest.workload : edge.source.workload;
    if (server === scenario.workload) return { slow: 0.7 };
    if (client === 'checkoutservice' || server === 'checkoutservice') return { slow: 0.35 };
  }
  if (scenario.fault === 'ambiguous' && [edge.source.pod, edge.dest.pod].includes(scenario.pod)) return { loss: 0.07 };
  return {};
}

/** One ten-second row of an edge; null if no agent saw it. */
export function fact(scenario, edge, windowS) {
  if (windowS < scenario.startS) return null;
  const silent = (end) => scenario.silent?.includes(end.node) && windowS >= scenario.silentS;
  const sees = { source: !silent(edge.source), dest: !silent(edge.dest) };
  if (!sees.source && !sees.dest) return null;
  const on = scenario.onsetS !== undefined && windowS >= scenario.onsetS && windowS < (scenario.endS ?? Infinity);
  const t = on ? trouble(scenario, edge) : {};
  const jitter = 0.9 + 0.2 * noise(edge.source.pod, edge.dest.pod, edge.port, edge.role, windowS);
  // Healthy replicas take over what the ill ones lose.
  const takeover = on && scenario.fault === 'loss' && !t.loss ? 1.35 : 1;
  const share = t.loss ? 0.42 : t.slow ? 1 - t.slow : takeover;
  const day = 1 + 0.08 * Math.sin(windowS / 400);
  const requests = 14 * edge.weight * share * jitter * day;
  const bytes = Math.round(edge.request * requests);
  const data = Math.max(1, Math.round(bytes / 1100 + requests));
  const lossRate = t.loss ?? 0.0012 * noise('base', edge.source.pod, edge.dest.pod, windowS);
  const lost = Math.floor(
    data * lossRate * (0.8 + 0.4 * noise('lost', edge.source.pod, edge.dest.pod, windowS)) +
      noise('part', edge.source.pod, edge.dest.pod, edge.role, windowS),
  );
  const base =
    (edge.source.zone === edge.dest.zone ? 1.05e-3 : 4.1e-3) * (0.8 + 0.3 * noise('rtt', edge.source.pod, edge.dest.pod) + 0.15 * jitter);
  const rtt = t.loss ? base * 1.5 : base;
  const client = edge.role === 'client';
  const attempts = client ? Math.round(requests / 2) : null;
  const timeouts = client
    ? Math.floor((attempts ?? 0) * (t.loss ? 0.16 * jitter : 0) + (t.loss ? noise('to', edge.source.pod, edge.dest.pod, windowS) : 0))
    : null;
  const active = 60 * edge.weight * (t.slow ? 2.4 : 1) * jitter;
  const busy = requests * rtt * 4;
  const row = { windowS, values: {}, hists: {} };
  const v = row.values;
  v['tcp.bytes.sent'] = sees.source ? bytes : null;
  v['tcp.bytes.received'] = sees.dest ? Math.round(bytes * (t.loss ? 0.997 : 1)) : null;
  v['tcp.bytes'] = v['tcp.bytes.sent'] ?? v['tcp.bytes.received'];
  v['tcp.segments.sent'] = sees.source ? data + lost : null;
  v['tcp.segments.received'] = sees.dest ? data : null;
  v['tcp.segments'] = v['tcp.segments.sent'] ?? v['tcp.segments.received'];
  v['tcp.resets.sent'] = sees.source ? 0 : null;
  v['tcp.resets.received'] = sees.dest ? 0 : null;
  v['tcp.resets'] = v['tcp.resets.sent'] ?? v['tcp.resets.received'];
  if (sees.source) {
    // Of one edge: its source's own filter, a few in each window.
    if (t.loss) v['kernel.drops_policy.sent'] = v['kernel.drops_policy'] = Math.floor(lost / 4);
    v['tcp.resets_no_listener'] = 0;
    v['tcp.resets_aborted'] = 0;
  }
  if (sees.dest) {
    v['tcp.out_of_order'] = Math.round(lost * 0.7);
    v['tcp.accepts'] = client ? (attempts ?? 0) - (timeouts ?? 0) : 0;
    v['tcp.accept_overflow'] = 0;
  }
  tellExchanges(row, edge, requests, bytes, rtt, sees);
  if (!sees.source) return row;
  const syn = client ? Math.round((timeouts ?? 0) * 1.4) : 0;
  v['tcp.retrans'] = lost + syn;
  v['tcp.retrans_syn'] = syn;
  v['tcp.retrans_synack'] = 0;
  v['tcp.retrans_bytes'] = lost * 1100;
  v['tcp.rto'] = Math.round(lost * 0.3);
  v['tcp.retrans_spurious'] = Math.round(lost * 0.02);
  v['tcp.rtt_max'] =
    rtt *
    (t.loss
      ? 4 + 9 * noise('max', edge.source.pod, edge.dest.pod, windowS)
      : 1.5 + 0.9 * noise('max', edge.source.pod, edge.dest.pod, windowS));
  v['tcp.rtt_min'] = base * 0.93;
  v['tcp.srtt_samples'] = Math.round(6 * edge.weight);
  v['tcp.srtt'] = v['tcp.srtt_samples'] * rtt;
  v['tcp.active'] = active;
  v['tcp.stalled'] = t.loss ? active * 0.14 * jitter : 0;
  v['tcp.busy'] = busy;
  v['tcp.blocked_rwnd'] = busy * 0.004;
  v['tcp.blocked_sndbuf'] = 0;
  v['tcp.closes'] = Math.round(requests / 2);
  row.hists['tcp.rtt'] = histogram(rtt, Math.max(6, data));
  if (client) {
    v['tcp.connects'] = attempts;
    v['tcp.connect_timeouts'] = timeouts;
    v['tcp.connects_established'] = (attempts ?? 0) - (timeouts ?? 0);
    v['tcp.connects_cancelled'] = 0;
    v['tcp.connects_refused'] = 0;
    v['tcp.connects_unreachable'] = 0;
    v['tcp.connects_reset'] = 0;
    row.hists['tcp.handshake'] = histogram(rtt * 1.1, attempts ?? 0);
  }
  return row;
}
