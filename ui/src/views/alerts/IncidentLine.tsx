import { Link } from '@tanstack/react-router';
import type { Incident } from '~/api/types';
import { carry } from '~/app/search';
import { lasted } from '~/lib/time';
import { plural } from '~/lib/units';
import { incidentHeadline, sinceOf } from '~/lib/words';
import { Moment, Tag } from '~/parts/marks';
import { TONE_ICON } from '~/parts/tones';
import css from './Alerts.module.css';

/** An incident in one line, as the way to its verdict. */
export function IncidentLine({ incident }: { incident: Incident }) {
  const { tone, answer, what } = incidentHeadline(incident);
  const since = sinceOf(incident);
  const seconds = ((incident.closed_at ? Date.parse(incident.closed_at) : Date.now()) - Date.parse(since)) / 1000;
  const Icon = TONE_ICON[incident.closed_at ? 'ok' : tone];
  return (
    <Link to="/diagnose" search={(s) => ({ ...carry(s), incident: incident.id })} className={css.incident}>
      <Icon
        className={css.tone}
        data-tone={incident.closed_at ? 'ok' : tone}
        size={16}
        aria-label={incident.closed_at ? 'closed' : 'open'}
      />
      <strong>{answer}</strong>
      {what.map((w) => (
        <bdi key={w}>{w}</bdi>
      ))}
      <span className={css.faint}>
        since <Moment at={since} />, {incident.closed_at ? 'lasted' : 'for'} {lasted(seconds)}
      </span>
      <Tag>{plural(incident.alerts.length, 'alert')}</Tag>
      <span className={css.go}>Why →</span>
    </Link>
  );
}
