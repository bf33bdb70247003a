import { Link } from '@tanstack/react-router';
import type { Incident } from '~/api/types';
import { carry } from '~/app/search';
import { lasted } from '~/lib/time';
import { plural } from '~/lib/units';
import { ANSWER_WORD, CLASS_WORD, culpritWords } from '~/lib/words';
import { HealthMark, Moment, Tag } from '~/parts/marks';
import css from './Alerts.module.css';

/** An incident in one line, as the way to its verdict. */
export function IncidentLine({ incident }: { incident: Incident }) {
  const { verdict } = incident;
  const seconds = ((incident.closed_at ? Date.parse(incident.closed_at) : Date.now()) - Date.parse(incident.since)) / 1000;
  const what = verdict
    ? [verdict.class === 'none' ? '' : CLASS_WORD[verdict.class], culpritWords(verdict.culprit)]
    : [culpritWords(incident.component)];
  return (
    <Link to="/diagnose" search={(s) => ({ ...carry(s), incident: incident.id })} className={css.incident}>
      <HealthMark level={incident.closed_at ? 'ok' : 'bad'} why={incident.closed_at ? 'closed' : 'open'} />
      <strong>{verdict ? ANSWER_WORD[verdict.verdict] : 'Incident'}</strong>
      {what.filter(Boolean).map((w) => (
        <bdi key={w}>{w}</bdi>
      ))}
      <span className={css.faint}>
        since <Moment at={incident.since} />, {incident.closed_at ? 'lasted' : 'for'} {lasted(seconds)}
      </span>
      <Tag>{plural(incident.alerts.length, 'alert')}</Tag>
      <span className={css.go}>Why →</span>
    </Link>
  );
}
