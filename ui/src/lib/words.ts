/** Words for verdicts: the same in the banner, on the page and in the copied report. */
import type { Answer, Catalogue, Class, Culprit, Hypothesis, Incident, Scope, Verdict } from '~/api/types';
import { any, equals } from './filter';
import { isMeasure, plural } from './units';

export const ANSWER_WORD: Record<Answer, string> = {
  network: 'Network',
  not_network: 'Not the network',
  ambiguous: 'Ambiguous',
  insufficient_evidence: 'Cannot say',
};

export const CLASS_WORD: Record<Class, string> = {
  loss: 'packet loss',
  latency: 'latency',
  unreachable: 'unreachable',
  policy: 'refused on the way',
  dns: 'DNS',
  service_down: 'service down',
  service_slow: 'service slow',
  receiver_limited: 'slow reader',
  demand_drop: 'less demand',
  none: 'no problem seen',
};

const SCOPE_WORD: Record<Scope, string> = {
  node: 'node',
  zone: 'zone',
  zone_pair: 'zones',
  node_pair: 'nodes',
  workload: 'workload',
  pod: 'pod',
  edge: 'edge',
  dns: 'DNS',
  none: '',
};

/** `zone us-east-1b`, `zones a → b`; empty for nobody. */
export function culpritWords(culprit: Culprit): string {
  if (culprit.scope === 'none') return '';
  const name = culprit.peer ? `${culprit.name} → ${culprit.peer}` : culprit.name;
  return `${SCOPE_WORD[culprit.scope]} ${name}`.trim();
}

/** The edges that pass through a component, as a filter; undefined where no dimension tells. */
export function culpritFilter(culprit: Culprit): string | undefined {
  const { scope, name, peer } = culprit;
  const either = (dim: string) => `(${equals(`source.${dim}`, name)} OR ${equals(`dest.${dim}`, name)})`;
  const directed = (dim: string) => `${equals(`source.${dim}`, name)} AND ${equals(`dest.${dim}`, peer ?? '')}`;
  switch (scope) {
    case 'node':
    case 'zone':
    case 'workload':
    case 'pod':
      return either(scope);
    case 'zone_pair':
      return directed('zone');
    case 'node_pair':
      return directed('node');
    case 'edge':
      return directed('workload');
    default:
      return undefined;
  }
}

/** Edges that pass a zone's or node's border, not those that stay inside it: what a fault of it hits. */
export function borderFilter(culprit: Culprit): string | undefined {
  const through = culpritFilter(culprit);
  if (!through || (culprit.scope !== 'zone' && culprit.scope !== 'node')) return through;
  const inside = `${equals(`source.${culprit.scope}`, culprit.name)} AND ${equals(`dest.${culprit.scope}`, culprit.name)}`;
  return `${through} AND NOT (${inside})`;
}

/** A class's measure where the evidence names none that can be drawn. */
const CLASS_MEASURE: Partial<Record<Class, string>> = {
  latency: 'tcp.rtt.p95',
  unreachable: 'tcp.connect_timeouts',
  policy: 'tcp.connects_refused',
  service_down: 'tcp.connects_refused',
  service_slow: 'tcp.active.rate',
  receiver_limited: 'tcp.rwnd_share',
  loss: 'tcp.retrans_rate',
  demand_drop: 'tcp.segments.sent.rate',
};

/** By this much a value of the evidence must have changed to show anything. */
const CHANGED = 1.2;

/** The measure that shows a verdict best: the first of its evidence that moved and can be asked for. Bytes are drawn anyway. */
export function measureOf(verdict: Verdict, catalogue: Catalogue | undefined): string {
  const moved = verdict.evidence.find(({ signal, value, baseline }) => {
    if (signal.startsWith('tcp.bytes') || !isMeasure(signal, catalogue) || value === null || value === undefined || value === 0)
      return false;
    const ratio = value / (baseline || Number.MIN_VALUE);
    return ratio >= CHANGED || ratio <= 1 / CHANGED;
  });
  return moved?.signal ?? CLASS_MEASURE[verdict.class] ?? 'tcp.rtt.p95';
}

const same = (a: Culprit, b: Culprit) => a.scope === b.scope && a.name === b.name && (a.peer ?? '') === (b.peer ?? '');

/** Nothing is wrong with what was asked about. */
const isWell = (verdict: Verdict) => verdict.verdict === 'not_network' && verdict.class === 'none';
/** Asked about one workload that is well, the server tells what is wrong with others. */
const isElsewhere = (verdict: Verdict) => isWell(verdict) && verdict.hypotheses.length > 0;

/** The server could not name a culprit: what would follow from one is not known, rather than nothing. */
export const isOpen = (verdict: Verdict): boolean => verdict.verdict === 'ambiguous' || verdict.verdict === 'insufficient_evidence';

export type Standing = 'taken' | 'nearest' | 'possible' | 'weaker' | 'cleared';

/** What became of an explanation, by the server's own words in `why`. */
export function standing(verdict: Verdict, h: Hypothesis): Standing {
  const says = (word: string) => h.why.startsWith(word);
  if (says('cleared') || says('does not stand')) return 'cleared';
  const named = verdict.culprit.scope !== 'none';
  if (named ? h.class === verdict.class && same(h.culprit, verdict.culprit) : says('taken')) return 'taken';
  if (h.why.includes('cannot be told apart')) return 'possible';
  const decided = named || isElsewhere(verdict);
  return says('nearest') && !decided ? 'nearest' : 'weaker';
}

/** Whom a verdict names: its culprit, or those of an ambiguous one that nothing cleared. */
export function suspects(verdict: Verdict): Culprit[] {
  if (verdict.culprit.scope !== 'none') return [verdict.culprit];
  if (verdict.verdict !== 'ambiguous') return [];
  const open = verdict.hypotheses.filter((h) => ['nearest', 'possible'].includes(standing(verdict, h))).map((h) => h.culprit);
  return open.filter((c, i) => c.scope !== 'none' && open.findIndex((other) => same(c, other)) === i);
}

/** Whom a verdict names, in words. */
export function where(verdict: Verdict): string {
  const names = suspects(verdict).map(culpritWords);
  return verdict.verdict === 'ambiguous' && names.length === 1 ? `perhaps ${names[0]}` : names.join(' or ');
}

/** The edges through whom a verdict names. */
export function suspectFilter(verdict: Verdict): string | undefined {
  const filters = suspects(verdict).map(borderFilter);
  return filters.length > 0 && filters.every((f) => f !== undefined) ? any(filters) : undefined;
}

export type Tone = 'bad' | 'info' | 'warn' | 'unknown' | 'ok';

const TONES: Record<Answer, Tone> = { network: 'bad', not_network: 'info', ambiguous: 'warn', insufficient_evidence: 'unknown' };

export interface Headline {
  tone: Tone;
  /** NETWORK, NOT THE NETWORK, … */
  answer: string;
  /** What and where, each a part. */
  what: string[];
}

/** A verdict in a line: the same in the banner, in lists, on its page and in the report. */
export function headline(verdict: Verdict): Headline {
  if (isElsewhere(verdict)) return { tone: 'info', answer: 'Not here', what: ['trouble elsewhere'] };
  if (isWell(verdict)) return { tone: 'ok', answer: 'No problem seen', what: [] };
  const sure = verdict.verdict !== 'insufficient_evidence' && verdict.class !== 'none';
  const what = (sure ? [CLASS_WORD[verdict.class], where(verdict)] : []).filter((w) => w !== '');
  return { tone: TONES[verdict.verdict], answer: ANSWER_WORD[verdict.verdict], what };
}

/**
 * The counts behind a verdict: `41 of 43 paths through it are bad · 2 of 310 elsewhere`. A path joins two pods (or hosts, or whoever is
 * at an end): a verdict looks at these, while an edge of the tables joins two workloads.
 */
export function counts(verdict: Verdict): string[] {
  const words: string[] = [];
  const taken = verdict.hypotheses.find((h) => standing(verdict, h) === 'taken');
  if (taken && !isElsewhere(verdict) && verdict.verdict !== 'insufficient_evidence') {
    words.push(`${taken.edges_bad} of ${plural(taken.edges, 'path')} through it ${taken.edges_bad === 1 ? 'is' : 'are'} bad`);
    const [control] = [...verdict.controls].sort((a, b) => b.edges - a.edges);
    if (control) words.push(`${control.bad} of ${control.edges} ${control.what.replace(/^(all )?edges /, '')}`);
  }
  const hit = new Set(verdict.affected.flatMap((a) => [a.source, a.dest]));
  if (hit.size > 0) words.push(`${plural(hit.size, 'workload')} hit`);
  return words;
}

/** Since when: as the verdict found it, else as the alerts saw it. */
export const sinceOf = (incident: Incident): string => incident.verdict?.since ?? incident.since;

/** An incident's period in milliseconds; an open one lasts to `now`. */
export function period(incident: Incident, now: number): { from: number; to: number } {
  return { from: Date.parse(sinceOf(incident)), to: incident.closed_at ? Date.parse(incident.closed_at) : now };
}

/** An incident in a line, also while its verdict is being made. */
export function incidentHeadline(incident: Incident): Headline {
  if (incident.verdict) return headline(incident.verdict);
  return { tone: 'warn', answer: 'Incident', what: [culpritWords(incident.component)].filter((w) => w !== '') };
}
