/** What the banner says: one state from the server's status, so that low coverage can never read as all well. */
import type { Coverage, Status, Verdict } from '~/api/types';
import { lasted } from '~/lib/time';
import { plural, show } from '~/lib/units';
import { ANSWER_WORD, CLASS_WORD, contenders, counts, culpritWords } from '~/lib/words';

export type Tone = 'bad' | 'info' | 'warn' | 'unknown' | 'ok';

export interface BannerState {
  tone: Tone;
  /** The answer: NETWORK, NOT THE NETWORK, … */
  answer: string;
  /** What and where, each a part. */
  what: string[];
  since?: string | undefined;
  details: string[];
  verdict?: Verdict | undefined;
  incident?: string | undefined;
}

const TONES: Record<Verdict['verdict'], Tone> = {
  network: 'bad',
  not_network: 'info',
  ambiguous: 'warn',
  insufficient_evidence: 'unknown',
};

export function bannerState(status: Status, now: number): BannerState {
  const { incident } = status;
  if (incident) {
    const verdict = incident.verdict ?? undefined;
    if (!verdict) {
      const what = culpritWords(incident.component);
      return {
        tone: 'warn',
        answer: 'Incident',
        what: what ? [what] : [],
        since: incident.since,
        details: ['the verdict is being made'],
        incident: incident.id,
      };
    }
    return { ...ofVerdict(verdict, status, now), since: verdict.since ?? incident.since, incident: incident.id };
  }
  if (status.headline.state !== 'clear') {
    const why = blindness(status.coverage, now) ?? status.headline.text.replace(/^cannot say( yet)?:\s*/, '');
    return { tone: 'unknown', answer: 'Cannot say', what: [], details: [why] };
  }
  const seen = [plural(status.counts.edges, 'edge'), `coverage ${show('ratio', status.coverage.fraction)}`];
  return { tone: 'ok', answer: 'No network problem seen', what: [], details: seen };
}

function ofVerdict(verdict: Verdict, status: Status, now: number): BannerState {
  const base = { tone: TONES[verdict.verdict], answer: ANSWER_WORD[verdict.verdict], verdict };
  if (verdict.verdict === 'insufficient_evidence') {
    return { ...base, what: [], details: [blindness(status.coverage, now) ?? blindness(verdict.coverage, now) ?? verdict.summary] };
  }
  const where = verdict.verdict === 'ambiguous' ? contenders(verdict) : culpritWords(verdict.culprit);
  const what = [verdict.class === 'none' ? '' : CLASS_WORD[verdict.class], where].filter((w) => w !== '');
  return { ...base, what, details: counts(verdict) };
}

/** Which agents are silent; undefined when none is. */
export function blindness(coverage: Coverage, now: number): string | undefined {
  const silent = Object.entries(coverage.silent).sort((a, b) => Date.parse(a[1]) - Date.parse(b[1]));
  const first = silent[0];
  if (coverage.agents_expected === 0) return 'no agent has reported yet';
  if (first) {
    const names = silent.slice(0, 3).map(([name]) => name);
    const more = silent.length > 3 ? ` and ${silent.length - 3} more` : '';
    const ago = lasted((now - Date.parse(first[1])) / 1000);
    return `${silent.length} of ${plural(coverage.agents_expected, 'agent')} silent for ${ago}: ${names.join(', ')}${more}`;
  }
  return undefined;
}
