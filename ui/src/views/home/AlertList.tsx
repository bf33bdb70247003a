import { Link } from '@tanstack/react-router';
import type { Alert } from '~/api/types';
import { carry } from '~/app/search';
import { plural } from '~/lib/units';
import { HealthMark, Moment, Tag } from '~/parts/marks';
import { Busy, Failure, Nothing } from '~/parts/states';
import css from './Home.module.css';

const SHOWN = 5;

/** The newest alerts in short; firing ones first. */
export function AlertList({ alerts, error }: { alerts: Alert[] | undefined; error: Error | null }) {
  if (error) return <Failure error={error} />;
  if (!alerts) return <Busy />;
  const told = alerts
    .filter((a) => a.state !== 'pending')
    .sort((a, b) => Number(b.state === 'firing') - Number(a.state === 'firing') || Date.parse(b.since) - Date.parse(a.since));
  if (told.length === 0) return <Nothing height={72}>No alert in this range.</Nothing>;
  return (
    <ul className={css.alertList}>
      {told.slice(0, SHOWN).map((a) => (
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
          <Tag>{a.detector.replaceAll('_', ' ')}</Tag>
        </li>
      ))}
      {told.length > SHOWN && <li className={css.tileNote}>and {plural(told.length - SHOWN, 'more', 'more')}</li>}
    </ul>
  );
}
