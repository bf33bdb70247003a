/** Words for verdicts: the same in the banner, on the page and in the copied report. */
import type { Answer, Class, Culprit, Incident, Scope, Verdict } from '~/api/types';
import { equals } from './filter';
import { plural } from './units';

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

/** The measure that shows a class best. */
export function measureOf(kind: Class): string {
  switch (kind) {
    case 'latency':
      return 'tcp.rtt.p95';
    case 'unreachable':
      return 'tcp.connect_timeouts';
    case 'policy':
    case 'service_down':
      return 'tcp.connects_refused';
    case 'receiver_limited':
      return 'tcp.rwnd_share';
    case 'loss':
      return 'tcp.retrans_rate';
    default:
      return 'tcp.bytes';
  }
}

/** The counts behind a verdict: `41 of 43 edges through it are bad · 2 of 310 edges elsewhere`. */
export function counts(verdict: Verdict): string[] {
  const words: string[] = [];
  const taken = verdict.hypotheses.find((h) => h.culprit.scope === verdict.culprit.scope && h.culprit.name === verdict.culprit.name);
  if (taken && verdict.verdict !== 'insufficient_evidence') {
    words.push(`${taken.edges_bad} of ${plural(taken.edges, 'edge')} through it ${taken.edges_bad === 1 ? 'is' : 'are'} bad`);
    const [control] = [...verdict.controls].sort((a, b) => b.edges - a.edges);
    if (control) words.push(`${control.bad} of ${control.edges} ${control.what.replace(/^(all )?edges /, '')}`);
  }
  const hit = new Set(verdict.affected.flatMap((a) => [a.source, a.dest]));
  if (hit.size > 0) words.push(`${plural(hit.size, 'workload')} hit`);
  return words;
}

/** For an ambiguous verdict: the two best explanations in words. */
export function contenders(verdict: Verdict): string {
  return verdict.hypotheses
    .slice(0, 2)
    .map((h) => culpritWords(h.culprit) || CLASS_WORD[h.class])
    .join(' or ');
}

/** An incident's period in milliseconds; an open one lasts to `now`. */
export function period(incident: Incident, now: number): { from: number; to: number } {
  return { from: Date.parse(incident.since), to: incident.closed_at ? Date.parse(incident.closed_at) : now };
}
