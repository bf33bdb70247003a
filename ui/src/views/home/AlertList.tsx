import { Link } from '@tanstack/react-router';
import type { Alert, Incident } from '~/api/types';
import { carry } from '~/app/search';
import { grouped, plural } from '~/lib/units';
import { incidentHeadline, sinceOf } from '~/lib/words';
import { HealthMark, Moment } from '~/parts/marks';
import { Busy, Failure, Nothing } from '~/parts/states';
import css from './Home.module.css';

const SHOWN = 6;

interface Props {
  alerts: Alert[] | undefined;
  incidents: Incident[];
  /** How many the server has beyond those that it sent. */
  unsent: number;
  error: Error | null;
}

/** The newest alerts in short, firing ones first: those of one incident in one row, since they tell the same. */
export function AlertList({ alerts, incidents, unsent, error }: Props) {
  if (error) return <Failure error={error} />;
  if (!alerts) return <Busy />;
  const told = alerts
    .filter((a) => a.state !== 'pending')
    .sort((a, b) => Number(b.state === 'firing') - Number(a.state === 'firing') || Date.parse(b.since) - Date.parse(a.since));
  if (told.length === 0) return <Nothing height={72}>No alert in this range.</Nothing>;
  const known = incidents.map((incident) => ({ incident, alerts: told.filter((a) => a.incident === incident.id) }));
  const grouping = known.filter((k) => k.alerts.length > 0);
  const single = told.filter((a) => !grouping.some((k) => k.incident.id === a.incident));
  const hidden = Math.max(0, single.length - SHOWN) + unsent;
  return (
    <ul className={css.alertList}>
      {grouping.map((k) => (
        <OfIncident key={k.incident.id} {...k} />
      ))}
      {single.slice(0, SHOWN).map((a) => (
        <li key={a.id}>
          <HealthMark level={a.state === 'firing' ? 'bad' : 'ok'} why={a.state} size={15} />
          <div className={css.alertText}>
            <Link to="/alerts" search={(s) => ({ ...carry(s), alert: a.id })} className={css.alertLink}>
              <bdi>{a.summary}</bdi>
            </Link>
            <span className={css.tileNote}>
              {a.state === 'firing' ? 'firing since ' : 'resolved '}
              <Moment at={a.state === 'firing' ? a.since : (a.resolved_at ?? a.since)} />
            </span>
          </div>
        </li>
      ))}
      {hidden > 0 && <li className={css.tileNote}>and {grouped(hidden)} more</li>}
    </ul>
  );
}

function OfIncident({ incident, alerts }: { incident: Incident; alerts: Alert[] }) {
  const { answer, what } = incidentHeadline(incident);
  const firing = alerts.filter((a) => a.state === 'firing').length;
  const kinds = [...new Set(alerts.map((a) => a.detector.replaceAll('_', ' ')))];
  return (
    <li>
      <HealthMark level={firing > 0 ? 'bad' : 'ok'} why={firing > 0 ? 'firing' : 'resolved'} size={15} />
      <div className={css.alertText}>
        <Link to="/diagnose" search={(s) => ({ ...carry(s), incident: incident.id })} className={css.alertLink}>
          <bdi>{[answer, ...what].join(' · ')}</bdi>
        </Link>
        <span className={css.tileNote}>
          {firing > 0 ? plural(firing, 'alert firing', 'alerts firing') : plural(alerts.length, 'alert resolved', 'alerts resolved')} since{' '}
          <Moment at={sinceOf(incident)} />: <bdi>{kinds.join(', ')}</bdi>
        </span>
      </div>
    </li>
  );
}
