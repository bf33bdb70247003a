// The states that the interface must show, each as generated facts with the verdict, alerts and incident that belong to it.

import { answer } from './query.mjs';
import { crosses, fact, large, NODES, shop, withOutside } from './shop.mjs';

const iso = (s) => new Date(s * 1000).toISOString().replace('.000Z', 'Z');
const pairName = (e) => (e.role === 'client' ? [e.source.workload, e.dest.workload] : [e.dest.workload, e.source.workload]);

/** Builds a scenario at this moment (seconds). */
export function scenario(name, nowS) {
  const now = Math.floor(nowS / 10) * 10;
  const base = { name, startS: now - 3 * 3600, zone: 'us-east-1b', simulated: false, insecure: false };
  const onsetS = now - 400;
  const plans = {
    network: { fault: 'loss', onsetS },
    resolved: { fault: 'loss', onsetS: now - 900, endS: now - 300 },
    undecided: { fault: 'loss', onsetS, undecided: true },
    not_network: { fault: 'slow_service', workload: 'paymentservice', onsetS },
    ambiguous: { fault: 'ambiguous', pod: 'paymentservice-1', onsetS },
    cannot_say: { silent: ['node-1', 'node-4', 'node-5'], silentS: now - 180 },
    quiet: {},
    simulated: { simulated: true, insecure: true },
    empty: { startS: now + 1e9 },
    hostile: { fault: 'loss', onsetS },
    large: { startS: now - 900 },
    outside: {},
    down: {},
  };
  if (!(name in plans)) throw new Error(`no scenario '${name}': choose from ${Object.keys(plans).join(', ')}`);
  const plan = { ...base, ...plans[name] };
  const made = { empty: () => [], large, outside: withOutside, hostile: () => shop(hostile) };
  const edges = (made[name] ?? (() => shop()))();
  return new Scenario(plan, edges);
}

/** Names that would do harm if they were ever taken for markup or SQL. */
function hostile(name) {
  return (
    {
      cartservice: '<img src=x onerror="window.__pwned=1">',
      paymentservice: "cart' OR '1'='1",
      emailservice: '</script><script>window.__pwned=2</script>',
      adservice: 'javascript:window.__pwned=3',
      recommendationservice: '',
      'redis-cart': `${'very-long-name-'.repeat(16)}end`,
      shippingservice: '\u202eecivres\u202c/%2f..%00',
    }[name] ?? name
  );
}

class Scenario {
  constructor(plan, edges) {
    Object.assign(this, { plan, edges, rows: new Map() });
  }

  /** Ten-second rows of an edge in a range, made once each. */
  *facts(edge, fromS, toS) {
    let kept = this.rows.get(edge);
    if (!kept) {
      kept = new Map();
      this.rows.set(edge, kept);
    }
    // Windows that have not ended yet have not arrived.
    const end = Math.min(toS, Math.floor(Date.now() / 10_000) * 10);
    const step = this.plan.name === 'large' ? 30 : 10;
    for (let w = Math.ceil(Math.max(fromS, this.plan.startS) / step) * step; w < end; w += step) {
      if (!kept.has(w)) kept.set(w, fact(this.plan, edge, w));
      const row = kept.get(w);
      if (row) yield row;
    }
  }

  edgesAnswer(query) {
    return answer(query, this.edges, (edge, fromS, toS) => this.facts(edge, fromS, toS));
  }

  coverage() {
    const expected = this.plan.name === 'empty' ? 0 : NODES.length;
    const silent = Object.fromEntries((this.plan.silent ?? []).map((node) => [node, iso(this.plan.silentS)]));
    const reporting = expected - Object.keys(silent).length;
    const fraction = expected === 0 ? 0 : reporting === expected ? 0.998 : 0.81;
    const losses = reporting === expected ? {} : { ring_full: 214 };
    return { fraction, agents_reporting: reporting, agents_expected: expected, silent, losses };
  }

  /** The bad edges by workload pair, as bytes go. */
  bad() {
    const { fault, zone, workload, pod } = this.plan;
    if (fault === 'loss') return this.edges.filter(crosses(zone));
    if (fault === 'slow_service') return this.edges.filter((e) => pairName(e)[1] === workload);
    if (fault === 'ambiguous') return this.edges.filter((e) => [e.source.pod, e.dest.pod].includes(pod));
    return [];
  }

  verdict() {
    const { plan } = this;
    const bad = this.bad();
    const total = this.edges.length;
    const range = {
      from: iso((plan.onsetS ?? plan.startS) - 300),
      to: iso(Math.min(plan.endS ?? Infinity, Math.floor(Date.now() / 10_000) * 10)),
      edges: total,
      coverage: this.coverage(),
    };
    const since = plan.onsetS ? iso(plan.onsetS) : null;
    const pairs = [...new Map(bad.map((e) => [pairName(e).join('\u0000'), pairName(e)])).values()];
    const affected = (symptom) => pairs.map(([source, dest], i) => ({ source, dest, impact: Math.max(0.08, 0.92 - i * 0.07), symptom }));
    if (plan.fault === 'loss') {
      const elsewhere = total - bad.length;
      return {
        verdict: 'network',
        class: 'loss',
        confidence: 0.97,
        culprit: { scope: 'zone', name: plan.zone, peer: null },
        since,
        summary: `Packets are lost on the way into and out of zone ${plan.zone}: 13.4 % of segments are sent again on ${bad.length - 2} of ${bad.length} edges through it, 0.1 % elsewhere.`,
        evidence: [
          {
            signal: 'tcp.retrans_rate',
            scope: `edges through zone ${plan.zone}`,
            value: 0.134,
            baseline: 0.0006,
            ratio: 223,
            samples: 48211,
            test: 'binomial against the past, p < 1e-300',
          },
          {
            signal: 'tcp.retrans_rate',
            scope: 'edges elsewhere',
            value: 0.0006,
            baseline: 0.0006,
            ratio: 1,
            samples: 301772,
            test: 'within the baseline',
          },
          {
            signal: 'tcp.connect_timeout_rate',
            scope: `edges through zone ${plan.zone}`,
            value: 0.161,
            baseline: 0,
            ratio: null,
            samples: 9120,
            test: 'Wilson lower bound 15.4 %',
          },
          {
            signal: 'tcp.rtt.p95',
            scope: `edges through zone ${plan.zone}`,
            value: 0.0087,
            baseline: 0.0059,
            ratio: 1.47,
            samples: 48211,
            test: 'above 3 MAD of the past',
          },
          {
            signal: 'tcp.stalled_share',
            scope: `edges through zone ${plan.zone}`,
            value: 0.139,
            baseline: 0,
            ratio: null,
            samples: 5210,
            test: 'above the floor of 2 %',
          },
          {
            signal: 'tcp.rwnd_share',
            scope: 'all edges',
            value: 0.004,
            baseline: 0.004,
            ratio: 1,
            samples: 40110,
            test: 'receivers are not the limit',
          },
        ],
        affected: affected('13 % of segments sent again, 16 % of connects timed out'),
        controls: [
          { what: 'edges elsewhere', edges: elsewhere, bad: 2, why: 'same services, same minutes, other zones: no loss' },
          { what: `edges within zone ${plan.zone}`, edges: 24, bad: 0, why: 'the nodes of the zone talk to one another without loss' },
        ],
        hypotheses: [
          {
            class: 'loss',
            culprit: { scope: 'zone', name: plan.zone, peer: null },
            log_likelihood: 8123.4,
            edges: bad.length,
            edges_bad: bad.length - 2,
            why: `taken: ${bad.length - 2} of ${bad.length} edges with enough samples are bad, explains 98 % of what is seen`,
          },
          {
            class: 'loss',
            culprit: { scope: 'node', name: 'node-3', peer: null },
            log_likelihood: 4012.2,
            edges: 52,
            edges_bad: 48,
            why: 'cleared: explains 49 % of what is seen, the one taken 98 %',
          },
          {
            class: 'loss',
            culprit: { scope: 'zone_pair', name: 'us-east-1a', peer: plan.zone },
            log_likelihood: 2760.8,
            edges: 44,
            edges_bad: 43,
            why: 'cleared: explains 34 % of what is seen, the one taken 98 %',
          },
          {
            class: 'service_slow',
            culprit: { scope: 'workload', name: 'checkoutservice', peer: null },
            log_likelihood: 40.1,
            edges: 56,
            edges_bad: 23,
            why: 'does not stand: score 40.1, explains 41 % of the signs of service slow',
          },
        ],
        ...range,
      };
    }
    if (plan.fault === 'slow_service') {
      return {
        verdict: 'not_network',
        class: 'service_slow',
        confidence: 0.93,
        culprit: { scope: 'workload', name: plan.workload, peer: null },
        since,
        summary: `Not the network: ${plan.workload} answers slowly. Its connections stay open 2.4 times as long, while round trips and retransmissions are as before on all ${bad.length} of its edges.`,
        evidence: [
          {
            signal: 'tcp.active per tcp.connects',
            scope: `workload ${plan.workload}`,
            value: 0.612,
            baseline: 0.255,
            ratio: 2.4,
            samples: 2210,
            test: 'change against 30 steps before; paths lose nothing and round trips are flat',
          },
          {
            signal: 'tcp.retrans_rate',
            scope: `edges to ${plan.workload}`,
            value: 0.0006,
            baseline: 0.0006,
            ratio: 1,
            samples: 22134,
            test: 'within the baseline: the network is cleared',
          },
          {
            signal: 'tcp.rtt.p95',
            scope: `edges to ${plan.workload}`,
            value: 0.0059,
            baseline: 0.0058,
            ratio: 1.02,
            samples: 22134,
            test: 'within the baseline: the network is cleared',
          },
        ],
        affected: affected('a third of the usual traffic, connections open 2.4 times as long'),
        controls: [
          { what: 'edges of other services on the same nodes', edges: total - bad.length, bad: 0, why: 'no signal of the network moved' },
        ],
        hypotheses: [
          {
            class: 'service_slow',
            culprit: { scope: 'workload', name: plan.workload, peer: null },
            log_likelihood: 911.7,
            edges: bad.length,
            edges_bad: bad.length,
            why: 'taken: the ends explain it and no path shows a symptom',
          },
          {
            class: 'loss',
            culprit: { scope: 'node', name: 'node-2', peer: null },
            log_likelihood: -12.2,
            edges: 38,
            edges_bad: 6,
            why: 'cleared: 32 of its 38 edges with enough samples are fine',
          },
        ],
        ...range,
      };
    }
    if (plan.fault === 'ambiguous') {
      // As the server tells it: no culprit, nothing that would follow from one, and what it cleared says so.
      return {
        verdict: 'ambiguous',
        class: 'loss',
        confidence: 0.4,
        culprit: { scope: 'none', name: '', peer: null },
        since,
        summary: 'Signs of loss, but the node and the only busy pod on it pass the very same edges: the numbers cannot tell them apart.',
        evidence: [],
        affected: [],
        controls: [],
        hypotheses: [
          {
            class: 'loss',
            culprit: { scope: 'node', name: 'node-2', peer: null },
            log_likelihood: 402.1,
            edges: bad.length,
            edges_bad: bad.length,
            why: `nearest: ${bad.length} of ${bad.length} edges with enough samples are bad, explains 98 % of what is seen`,
          },
          {
            class: 'loss',
            culprit: { scope: 'pod', name: 'paymentservice-1', peer: null },
            log_likelihood: 401.6,
            edges: bad.length,
            edges_bad: bad.length,
            why: 'passes the very same edges as node, which is larger: cannot be told apart',
          },
          {
            class: 'loss',
            culprit: { scope: 'zone', name: 'us-east-1a', peer: null },
            log_likelihood: 36.2,
            edges: 44,
            edges_bad: 8,
            why: 'cleared: 36 of its 44 edges with enough samples are fine',
          },
        ],
        ...range,
      };
    }
    const low = this.coverage().fraction < 0.9;
    return {
      verdict: low ? 'insufficient_evidence' : 'not_network',
      class: 'none',
      confidence: low ? 0 : 0.96,
      culprit: { scope: 'none', name: '', peer: null },
      since: null,
      summary: low ? 'Cannot say: 3 of 6 agents have been silent for 3 minutes.' : `No network problem seen on ${total} edges.`,
      evidence: [],
      affected: [],
      controls: low ? [] : [{ what: 'all edges', edges: total, bad: 0, why: 'all within their floors and baselines' }],
      hypotheses: [],
      ...range,
    };
  }

  /** The verdict on a range, or as far as it touches a workload. */
  diagnose(workload) {
    const verdict = this.verdict();
    if (!workload || verdict.affected.length === 0 || verdict.affected.some((a) => a.source === workload || a.dest === workload))
      return verdict;
    return {
      ...verdict,
      verdict: 'not_network',
      class: 'none',
      culprit: { scope: 'none', name: '', peer: null },
      since: null,
      summary: `No network problem seen at ${workload}. Elsewhere: ${verdict.summary}`,
      evidence: [],
      affected: [],
      controls: [],
    };
  }

  alerts() {
    const { plan } = this;
    if (!plan.onsetS) return [];
    const ended = plan.endS !== undefined;
    const make = (detector, signal, labels, value, threshold, baseline, summary) => ({
      id: `${detector}-${Object.values(labels).join('-')}-${plan.onsetS}`,
      detector,
      signal,
      state: ended ? 'resolved' : 'firing',
      labels,
      since: iso(plan.onsetS),
      fired_at: iso(plan.onsetS + 30),
      resolved_at: ended ? iso(plan.endS + 60) : null,
      value,
      threshold,
      baseline,
      baseline_s: 3600,
      samples: 4211,
      summary,
      incident: this.incidentId(),
    });
    const pairs = [...new Map(this.bad().map((e) => [`${e.source.workload}\u0000${e.dest.workload}`, e])).values()];
    if (plan.fault === 'slow_service') {
      return pairs
        .filter((e) => e.role === 'client')
        .map((e) =>
          make(
            'traffic_drop',
            'tcp.bytes.rate',
            { 'source.workload': e.source.workload, 'dest.workload': e.dest.workload },
            2310,
            4400,
            7900,
            `traffic ${e.source.workload} → ${e.dest.workload} fell to 29 % of its usual`,
          ),
        );
    }
    return pairs.slice(0, 12).flatMap((e, i) => {
      const labels = { 'source.workload': e.source.workload, 'dest.workload': e.dest.workload };
      const words = `${e.source.workload} → ${e.dest.workload}`;
      const list = [
        make(
          'retransmissions',
          'tcp.retrans_rate',
          labels,
          0.091 + i * 0.004,
          0.02,
          0.0006,
          `${(9.1 + i * 0.4).toFixed(1)} % of segments ${words} are sent again, usually 0.06 %`,
        ),
      ];
      if (i % 3 === 0 && e.role === 'client')
        list.push(
          make('connect_failures', 'tcp.connect_failure_rate', labels, 0.108, 0.05, 0, `10.8 % of connects ${words} fail, usually none`),
        );
      return list;
    });
  }

  incidentId() {
    return `inc-${this.plan.onsetS}`;
  }

  incidents() {
    const { plan } = this;
    if (!plan.onsetS) return [];
    const verdict = this.verdict();
    return [
      {
        id: this.incidentId(),
        opened_at: iso(plan.onsetS + 30),
        since: iso(plan.onsetS),
        closed_at: plan.endS ? iso(plan.endS + 60) : null,
        alerts: this.alerts().map((a) => a.id),
        // Where its alerts point, also where the verdict names nobody.
        component: verdict.culprit.scope === 'none' ? { scope: 'workload', name: 'paymentservice', peer: null } : verdict.culprit,
        ...(plan.undecided ? {} : { verdict, diagnosed_at: iso(Math.floor(Date.now() / 10_000) * 10) }),
      },
    ];
  }

  headline(open, verdict) {
    if (open && !open.verdict) return { state: 'deciding', text: 'an incident is open, the verdict is on its way' };
    if (open) return { state: verdict.verdict === 'insufficient_evidence' ? 'cannot_say' : verdict.verdict, text: verdict.summary };
    const c = this.coverage();
    if (c.agents_expected === 0) return { state: 'no_data', text: 'no agent has shipped anything yet' };
    if (c.fraction < 0.95)
      return { state: 'cannot_say', text: `cannot say: ${Object.keys(c.silent).length} of ${c.agents_expected} agents silent` };
    return { state: 'clear', text: 'no network problem seen' };
  }

  status() {
    const open = this.incidents().find((i) => !i.closed_at) ?? null;
    const verdict = this.verdict();
    return {
      version: '0.1.0',
      now: new Date().toISOString(),
      started_at: iso(this.plan.startS),
      uptime_s: 5421,
      headline: this.headline(open, verdict),
      incident: open,
      tokens: false,
      detection: { last_at: iso(Math.floor(Date.now() / 1000)), last_took_s: 0.04 },
      counts: {
        edges: new Set(this.edges.map((e) => `${e.source.workload}\u0000${e.dest.workload}`)).size,
        workloads: new Set(this.edges.map((e) => e.source.workload)).size,
        agents: NODES.length,
        alerts_firing: this.alerts().filter((a) => a.state === 'firing').length,
        alerts_pending: 0,
        incidents_open: open ? 1 : 0,
      },
      coverage: this.coverage(),
      simulated: this.plan.simulated,
      insecure: this.plan.insecure,
    };
  }
}
