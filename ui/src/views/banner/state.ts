/** What the banner says: one state from the server's status, so that low coverage can never read as all well. */
import type { Coverage, Incident, Status } from '~/api/types';
import { lasted } from '~/lib/time';
import { plural, show } from '~/lib/units';
import { ANSWER_WORD, counts, type Headline, incidentHeadline, sinceOf } from '~/lib/words';

export interface BannerState extends Headline {
  since?: string | undefined;
  details: string[];
  incident?: Incident | undefined;
  /** Open incidents that the line does not tell of. */
  others: number;
}

export function bannerState(status: Status, now: number): BannerState {
  const { incident } = status;
  const troubles = troublesOf(status);
  if (incident) {
    const details = [...detailsOf(incident, status, now), ...troubles];
    const others = Math.max(0, status.counts.incidents_open - 1);
    return { ...incidentHeadline(incident), since: sinceOf(incident), details, incident, others };
  }
  const unsure = { tone: 'unknown' as const, answer: ANSWER_WORD.insufficient_evidence, what: [], others: 0 };
  if (troubles.length > 0) return { ...unsure, details: troubles };
  if (status.headline.state !== 'clear') {
    const why = blindness(status.coverage, now) ?? status.headline.text.replace(/^cannot say( yet)?:\s*/, '');
    return { ...unsure, details: [why] };
  }
  const left = Object.keys(status.coverage.left ?? {}).length;
  const gone = left > 0 ? [`${plural(left, 'agent')} left`] : [];
  const seen = [plural(status.counts.edges, 'edge'), `coverage ${show('ratio', status.coverage.fraction)}`, ...gone];
  return { tone: 'ok', answer: 'No network problem seen', what: [], details: seen, others: 0 };
}

function detailsOf({ verdict }: Incident, status: Status, now: number): string[] {
  if (!verdict) return ['the verdict is being made'];
  if (verdict.verdict !== 'insufficient_evidence') return counts(verdict);
  return [blindness(status.coverage, now) ?? blindness(verdict.coverage, now) ?? verdict.summary];
}

/** What keeps Edgescope itself from seeing. */
function troublesOf(status: Status): string[] {
  const { store_error: store, detection } = status;
  return [store ? `nothing is stored: ${store}` : '', detection.error ? `detection fails: ${detection.error}` : ''].filter((t) => t !== '');
}

/** Which agents are silent; undefined when none is. */
export function blindness(coverage: Coverage, now: number): string | undefined {
  const silent = Object.entries(coverage.silent).sort((a, b) => Date.parse(a[1]) - Date.parse(b[1]));
  const first = silent[0];
  if (coverage.agents_expected === 0) return 'no agent reports';
  if (first) {
    const names = silent.slice(0, 3).map(([name]) => name);
    const more = silent.length > 3 ? ` and ${silent.length - 3} more` : '';
    const ago = lasted((now - Date.parse(first[1])) / 1000);
    return `${silent.length} of ${plural(coverage.agents_expected, 'agent')} silent for ${ago}: ${names.join(', ')}${more}`;
  }
  return undefined;
}
