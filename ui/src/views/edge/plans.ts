/** The charts of an edge: what each shows, and from which measures. */
import type { Catalogue, EdgesAnswer, Unit } from '~/api/types';
import { series } from '~/lib/edges';
import type { ChartData, Series } from '~/parts/chart/types';

interface Line {
  label: string;
  measure: string;
  /** Measures to take away from it, step by step. */
  less?: string[];
  colour: number;
  dash?: boolean;
}

/** What the charts are about, in the order of the page. */
export const ABOUT = ['How much, how fast', 'Lost and stalled', 'Connecting', 'At the ends', 'UDP', 'DNS', 'HTTP'] as const;

export interface Plan {
  about: (typeof ABOUT)[number];
  title: string;
  subtitle: string;
  kind: ChartData['kind'];
  unit: Unit;
  lines: Line[];
}

const BLUE = 0;
const ORANGE = 1;
const TEAL = 2;
const PINK = 3;
const GOLD = 7;
const GREEN = 8;
const RED = 9;
const GREY = 10;

export const PLANS: Plan[] = [
  {
    about: 'How much, how fast',
    title: 'TCP traffic (bytes)',
    subtitle: 'What the source sent, what the destination received',
    kind: 'lines',
    unit: 'bytes',
    lines: [
      { label: 'sent', measure: 'tcp.bytes.sent', colour: BLUE },
      { label: 'received', measure: 'tcp.bytes.received', colour: TEAL, dash: true },
    ],
  },
  {
    about: 'How much, how fast',
    title: 'Round trip time',
    subtitle: 'Delayed acknowledgements sit in the maximum',
    kind: 'lines',
    unit: 'seconds',
    lines: [
      { label: 'max', measure: 'tcp.rtt_max', colour: GREY },
      { label: 'p95', measure: 'tcp.rtt.p95', colour: ORANGE },
      { label: 'p50', measure: 'tcp.rtt.p50', colour: BLUE },
    ],
  },
  {
    about: 'Connecting',
    title: '# TCP connection timeouts',
    subtitle: 'Attempts that were given up without an answer',
    kind: 'columns',
    unit: 'count',
    lines: [{ label: 'timed out', measure: 'tcp.connect_timeouts', colour: RED }],
  },
  {
    about: 'Lost and stalled',
    title: '# Retransmissions',
    subtitle: 'Segments sent again, by kind',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'data', measure: 'tcp.retrans', less: ['tcp.retrans_syn', 'tcp.retrans_synack'], colour: ORANGE },
      { label: 'SYN', measure: 'tcp.retrans_syn', colour: RED },
      { label: 'SYN-ACK', measure: 'tcp.retrans_synack', colour: PINK },
    ],
  },
  {
    about: 'Lost and stalled',
    title: 'Retransmission rate',
    subtitle: 'Of data segments sent; path loss is sent less received',
    kind: 'lines',
    unit: 'ratio',
    lines: [
      { label: 'sent again', measure: 'tcp.retrans_rate', colour: ORANGE },
      { label: 'path loss', measure: 'tcp.path_loss', colour: GREY, dash: true },
    ],
  },
  {
    about: 'Connecting',
    title: 'Connects',
    subtitle: 'Attempts by their outcome',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'established', measure: 'tcp.connects_established', colour: GREEN },
      { label: 'timed out', measure: 'tcp.connect_timeouts', colour: RED },
      { label: 'refused', measure: 'tcp.connects_refused', colour: PINK },
      { label: 'unreachable', measure: 'tcp.connects_unreachable', colour: ORANGE },
      { label: 'failed otherwise', measure: 'tcp.connects_reset', colour: GOLD },
      { label: 'cancelled', measure: 'tcp.connects_cancelled', colour: GREY },
    ],
  },
  {
    about: 'Connecting',
    title: 'Handshake time',
    subtitle: 'From SYN to established, at the client',
    kind: 'lines',
    unit: 'seconds',
    lines: [
      { label: 'p95', measure: 'tcp.handshake.p95', colour: ORANGE },
      { label: 'p50', measure: 'tcp.handshake.p50', colour: BLUE },
    ],
  },
  {
    about: 'How much, how fast',
    title: 'Open connections',
    subtitle: 'On average; stalled ones wait for an answer of the network',
    kind: 'lines',
    unit: 'count',
    lines: [
      { label: 'open', measure: 'tcp.active.rate', colour: BLUE },
      { label: 'stalled', measure: 'tcp.stalled.rate', colour: RED },
    ],
  },
  {
    about: 'At the ends',
    title: 'Busy and blocked',
    subtitle: 'Connections with data on the way, and what held them up',
    kind: 'lines',
    unit: 'count',
    lines: [
      { label: 'busy', measure: 'tcp.busy.rate', colour: BLUE },
      { label: 'receiver’s window', measure: 'tcp.blocked_rwnd.rate', colour: PINK },
      { label: 'send buffer', measure: 'tcp.blocked_sndbuf.rate', colour: GOLD },
    ],
  },
  {
    about: 'At the ends',
    title: 'Resets',
    subtitle: 'From source to destination, as each end counted',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'sent', measure: 'tcp.resets.sent', colour: BLUE },
      { label: 'received', measure: 'tcp.resets.received', colour: TEAL },
    ],
  },
  {
    about: 'Lost and stalled',
    title: 'Time-outs and false alarms',
    subtitle: 'Retransmission time-outs; resent though it had arrived',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'time-outs', measure: 'tcp.rto', colour: ORANGE },
      { label: 'spurious', measure: 'tcp.retrans_spurious', colour: GREY },
    ],
  },
  {
    about: 'Lost and stalled',
    title: 'Dropped by the ends’ kernels',
    subtitle: 'By where and why; what the way between them lost is not among it',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'filtered at the source', measure: 'kernel.drops_policy.sent', colour: RED },
      { label: 'filtered at the destination', measure: 'kernel.drops_policy.received', colour: PINK },
      { label: 'no room at the source', measure: 'kernel.drops_queue.sent', colour: ORANGE },
      { label: 'no room at the destination', measure: 'kernel.drops_queue.received', colour: GOLD },
      { label: 'invalid', measure: 'kernel.drops_invalid', colour: TEAL },
      { label: 'otherwise', measure: 'kernel.drops_other', colour: GREY },
    ],
  },
  {
    about: 'At the ends',
    title: 'Why the source reset',
    subtitle: 'Of the resets that it sent; told by Linux 6.10 and later',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'nobody listened', measure: 'tcp.resets_no_listener', colour: PINK },
      { label: 'gave up', measure: 'tcp.resets_aborted', colour: ORANGE },
    ],
  },
  {
    about: 'At the ends',
    title: 'At the receiver',
    subtitle: 'Segments out of order; connections its full queue dropped',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'out of order', measure: 'tcp.out_of_order', colour: TEAL },
      { label: 'queue overflow', measure: 'tcp.accept_overflow', colour: RED },
    ],
  },
  {
    about: 'UDP',
    title: 'UDP traffic (bytes)',
    subtitle: 'What the source sent, what arrived at the destination',
    kind: 'lines',
    unit: 'bytes',
    lines: [
      { label: 'sent', measure: 'udp.bytes.sent', colour: BLUE },
      { label: 'received', measure: 'udp.bytes.received', colour: TEAL, dash: true },
    ],
  },
  {
    about: 'UDP',
    title: '# UDP datagrams',
    subtitle: 'Sent, arrived, dropped at a full queue',
    kind: 'lines',
    unit: 'count',
    lines: [
      { label: 'sent', measure: 'udp.datagrams.sent', colour: BLUE },
      { label: 'received', measure: 'udp.datagrams.received', colour: TEAL, dash: true },
      { label: 'dropped', measure: 'udp.drops', colour: RED },
    ],
  },
  {
    about: 'UDP',
    title: 'UDP conversations',
    subtitle: 'On average; datagrams less than 10 s apart make one',
    kind: 'lines',
    unit: 'count',
    lines: [{ label: 'active', measure: 'udp.active.rate', colour: BLUE }],
  },
  {
    about: 'DNS',
    title: '# DNS questions',
    subtitle: 'Asked, answered, without an answer after 5 s',
    kind: 'lines',
    unit: 'count',
    lines: [
      { label: 'asked', measure: 'dns.requests', colour: BLUE },
      { label: 'answered', measure: 'dns.responses', colour: TEAL, dash: true },
      { label: 'no answer', measure: 'dns.timeouts', colour: RED },
    ],
  },
  {
    about: 'DNS',
    title: '# DNS errors',
    subtitle: 'By code; NXDOMAIN: there is no such name',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'SERVFAIL', measure: 'dns.servfail', colour: RED },
      { label: 'REFUSED', measure: 'dns.refused', colour: PINK },
      { label: 'other', measure: 'dns.errors_other', colour: GOLD },
      { label: 'NXDOMAIN', measure: 'dns.nxdomain', colour: GREY },
    ],
  },
  {
    about: 'DNS',
    title: 'DNS time to answer',
    subtitle: 'At the client with the way, at the server without it',
    kind: 'lines',
    unit: 'seconds',
    lines: [
      { label: 'client p95', measure: 'dns.client.duration.p95', colour: ORANGE },
      { label: 'client p50', measure: 'dns.client.duration.p50', colour: BLUE },
      { label: 'server p50', measure: 'dns.server.duration.p50', colour: TEAL, dash: true },
    ],
  },
  {
    about: 'HTTP',
    title: '# HTTP answers',
    subtitle: 'By status; no answer: the connection or stream ended before it',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: '2xx', measure: 'http.status_2xx', colour: GREEN },
      { label: '3xx', measure: 'http.status_3xx', colour: BLUE },
      { label: '4xx', measure: 'http.status_4xx', colour: GOLD },
      { label: '5xx', measure: 'http.status_5xx', colour: RED },
      { label: 'other', measure: 'http.status_other', colour: GREY },
      { label: 'no answer', measure: 'http.unanswered', colour: PINK },
    ],
  },
  {
    about: 'HTTP',
    title: 'HTTP time to answer',
    subtitle: 'At the client with the way, at the server without it',
    kind: 'lines',
    unit: 'seconds',
    lines: [
      { label: 'client p95', measure: 'http.client.duration.p95', colour: ORANGE },
      { label: 'client p50', measure: 'http.client.duration.p50', colour: BLUE },
      { label: 'server p50', measure: 'http.server.duration.p50', colour: TEAL, dash: true },
    ],
  },
  {
    about: 'HTTP',
    title: '# gRPC calls',
    subtitle: 'By how they ended; without a status: reset, as by a client whose deadline has passed, or cut off',
    kind: 'columns',
    unit: 'count',
    lines: [
      { label: 'OK', measure: 'grpc.status_ok', colour: GREEN },
      { label: 'other status', measure: 'grpc.status_other', colour: GOLD },
      { label: 'unavailable', measure: 'grpc.status_unavailable', colour: RED },
      { label: 'deadline exceeded', measure: 'grpc.status_deadline', colour: PINK },
      { label: 'without a status', measure: 'grpc.status_none', colour: GREY },
    ],
  },
];

/** All that the page asks of the edge in one query. */
export const EDGE_MEASURES = [
  ...new Set([
    ...PLANS.flatMap((p) => p.lines.flatMap((l) => [l.measure, ...(l.less ?? [])])),
    'tcp.bytes',
    'tcp.segments.sent',
    'tcp.segments.received',
    'tcp.retrans_rate',
    'tcp.connect_failure_rate',
    'tcp.connects',
    'tcp.stalled_share',
    'tcp.active',
    'tcp.busy',
    'tcp.blocked_rwnd',
    'tcp.blocked_sndbuf',
  ]),
];

export function linesOf(plan: Plan, table: EdgesAnswer): Series[] {
  const row = table.rows[0];
  if (!row) return [];
  const all = plan.lines.map((line): Series => {
    const less = (line.less ?? []).map((m) => series(table, row, m));
    const values = series(table, row, line.measure).map((v, i) => (v === null ? null : less.reduce((rest, l) => rest - (l[i] ?? 0), v)));
    return { name: line.label, values, colour: line.colour, dash: line.dash };
  });
  const measured = all.filter((s) => s.values.some((v) => v !== null));
  if (plan.kind === 'lines') return measured;
  // Of columns only what happened, but at least one, to show that it did not.
  const happened = measured.filter((s) => s.values.some((v) => v));
  return happened.length ? happened : measured.slice(0, 1);
}

/** What a chart of one measure alone is called: as the edge's chart that has it, else as the catalogue explains it. */
export function chartOf(measure: string, catalogue: Catalogue | undefined): string {
  const plan = PLANS.find((p) => p.lines.some((l) => l.measure === measure));
  if (plan) return plan.lines.length > 1 ? `${plan.title}: ${plan.lines.find((l) => l.measure === measure)?.label}` : plan.title;
  if (measure === 'tcp.bytes') return PLANS[0]?.title ?? measure;
  const brief = catalogue?.derived.find((d) => d.name === measure)?.brief;
  return brief ? brief.charAt(0).toUpperCase() + brief.slice(1) : measure;
}

/** Whether a chart would show nothing but that nothing was. */
export const isQuiet = (plan: Plan, list: Series[]): boolean =>
  list.length === 0 || (plan.kind === 'columns' && list.every((s) => s.values.every((v) => !v)));

/** The first line of each chart in the compared range, step by step under those of the range itself. */
export function beforeOf(plan: Plan, table: EdgesAnswer, before: EdgesAnswer | undefined): Series[] {
  if (plan.kind !== 'lines' || before?.steps.length !== table.steps.length) return [];
  return linesOf(plan, before)
    .slice(0, 1)
    .map((s) => ({ ...s, name: `${s.name}, compared`, colour: 'grey', dash: true }));
}
