/**
 * Health of an edge in a range: what its own numbers and its alerts say. The floors are those below which a person would not act; a
 * signal speaks only with enough opportunities behind it, so that one lost segment out of three paints nothing red.
 */
import type { Alert, Coverage } from '~/api/types';
import { plural, show } from './units';

export type Level = 'bad' | 'warn' | 'ok' | 'unknown';

export const LEVELS: Level[] = ['bad', 'warn', 'ok', 'unknown'];
export const LEVEL_WORD: Record<Level, string> = { bad: 'bad', warn: 'degraded', ok: 'healthy', unknown: 'cannot say' };

/** Measures that health reads, in this order of `numbers`. */
export const HEALTH_MEASURES = [
  'tcp.retrans_rate',
  'tcp.segments.sent',
  'tcp.connect_failure_rate',
  'tcp.connects',
  'tcp.stalled_share',
  'tcp.active',
  'tcp.rtt.p95',
] as const;

export interface Health {
  level: Level;
  /** Greater is worse; 1 is where `bad` begins. */
  score: number;
  /** Why, in words; empty when healthy. */
  why: string;
  /** Of each rate that has enough behind it to speak. */
  of: Record<string, Level>;
}

/** Below it the server, too, says that it cannot say. */
const COVERAGE_LEAST = 0.95;

/** Why nobody can be called healthy in a range: some of what should have been seen was not. Undefined if all was seen. */
export function blindSpot(coverage: Coverage): string | undefined {
  const silent = Object.keys(coverage.silent).length;
  if (silent > 0) return `${silent} of ${plural(coverage.agents_expected, 'agent')} silent`;
  return coverage.fraction < COVERAGE_LEAST ? `coverage ${show('ratio', coverage.fraction)}` : undefined;
}

interface Rule {
  rate: string;
  of: string;
  least: number;
  warn: number;
  bad: number;
  say: (rate: number) => string;
}

const RULES: Rule[] = [
  {
    rate: 'tcp.retrans_rate',
    of: 'tcp.segments.sent',
    least: 100,
    warn: 0.01,
    bad: 0.03,
    say: (r) => `${show('ratio', r)} of segments sent again`,
  },
  {
    rate: 'tcp.connect_failure_rate',
    of: 'tcp.connects',
    least: 5,
    warn: 0.01,
    bad: 0.05,
    say: (r) => `${show('ratio', r)} of connects failed`,
  },
  {
    rate: 'tcp.stalled_share',
    of: 'tcp.active',
    least: 10,
    warn: 0.02,
    bad: 0.1,
    say: (r) => `connections stalled ${show('ratio', r)} of their time`,
  },
];

/** RTT against the compared range: a shift counts if it is both a multiple and longer than jitter. */
const RTT = { warn: 1.5, bad: 3, leastSeconds: 0.002 };

export type Lookup = (measure: string) => number | null | undefined;

const levelOf = (score: number): Level => (score >= 1 ? 'bad' : score >= 0.5 ? 'warn' : 'ok');

/**
 * Health from the totals of a range, those of the compared range where there is one, and the firing or pending alerts on the edge. With
 * a blind spot nothing is healthy: what was not seen may be ill.
 */
export function health(now: Lookup, before: Lookup | undefined, alerts: Alert[], blind?: string | undefined): Health {
  let score = 0;
  const of: Record<string, Level> = {};
  const why: string[] = [];
  for (const rule of RULES) {
    const rate = now(rule.rate);
    const behind = now(rule.of);
    if (rate === null || rate === undefined || !behind || behind < rule.least) continue;
    const own = scoreOf(rate, rule.warn, rule.bad);
    of[rule.rate] = levelOf(own);
    score = Math.max(score, own);
    if (rate >= rule.warn) why.push(rule.say(rate));
  }
  const rtt = now('tcp.rtt.p95');
  const past = before?.('tcp.rtt.p95');
  if (rtt && past && rtt - past >= RTT.leastSeconds) {
    const ratio = rtt / past;
    const own = scoreOf(ratio - 1, RTT.warn - 1, RTT.bad - 1);
    of['tcp.rtt.p95'] = levelOf(own);
    score = Math.max(score, own);
    if (ratio >= RTT.warn) why.push(`RTT p95 ${ratio.toFixed(1)} times that of the compared range`);
  }
  const firing = alerts.filter((a) => a.state === 'firing');
  if (firing.length > 0) {
    score = Math.max(score, 1) + 0.01 * Math.min(firing.length, 50);
    why.push(why.length === 0 && firing.length === 1 ? (firing[0]?.summary ?? '') : plural(firing.length, 'alert'));
  } else if (alerts.length > 0) {
    score = Math.max(score, 0.5);
    why.push(plural(alerts.length, 'alert pending', 'alerts pending'));
  }
  if (blind && score < 0.5) return { level: 'unknown', score, why: `${blind}: what was not seen cannot be called healthy`, of };
  const seen = score >= 0.5 || RULES.some((rule) => rule.rate in of);
  return seen ? { level: levelOf(score), score, why: why.join('; '), of } : { level: 'unknown', score, why: 'too little data', of };
}

/** 0 at nothing, 0.5 at the warning, 1 where bad begins, and on. */
function scoreOf(value: number, warn: number, bad: number): number {
  if (value < warn) return (0.5 * value) / warn;
  if (value < bad) return 0.5 + (0.5 * (value - warn)) / (bad - warn);
  return Math.min(1 + Math.log10(value / bad), 3);
}

/** Firing and pending alerts whose labels this group of edges meets: each label that is one of its dimensions has the group's value, and at least one is. */
export function alertsOn(groupBy: string[], key: string[], alerts: Alert[]): Alert[] {
  return alerts.filter((alert) => alert.state !== 'resolved' && meets(groupBy, key, alert));
}

/** Alerts, over or not, that some of these groups meets: what is left of them under a filter. */
export function alertsAmong(groupBy: string[], keys: string[][], alerts: Alert[]): Alert[] {
  return alerts.filter((alert) => keys.some((key) => meets(groupBy, key, alert)));
}

function meets(groupBy: string[], key: string[], alert: Alert): boolean {
  let met = 0;
  for (let i = 0; i < groupBy.length; i += 1) {
    const wanted = alert.labels[groupBy[i] ?? ''];
    if (wanted === undefined) continue;
    if (wanted !== key[i]) return false;
    met += 1;
  }
  return met > 0;
}
