import { useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useAlerts, useIncidents } from '~/api/queries';
import type { Alert } from '~/api/types';
import type { AlertsSearch } from '~/app/search';
import { useView } from '~/app/view';
import { grouped } from '~/lib/units';
import { Busy, Failure, Nothing } from '~/parts/states';
import { AlertCard } from './AlertCard';
import css from './Alerts.module.css';
import { IncidentLine } from './IncidentLine';

/** Alerts of the range: those that fire, those that wait for long enough, those that are over. */
export function Alerts() {
  const view = useView();
  const { alert: chosen } = useSearch({ from: '/alerts' }) as AlertsSearch;
  const answer = useAlerts(view.range);
  const incidents = useIncidents(view.range).data ?? [];
  const loaded = answer.data !== undefined;
  useEffect(() => {
    if (chosen && loaded) document.getElementById(`alert-${chosen}`)?.scrollIntoView({ block: 'center' });
  }, [chosen, loaded]);
  if (answer.error) return <Failure error={answer.error} height={200} />;
  if (!answer.data) return <Busy height={200} />;
  const of = (state: Alert['state']) => (answer.data ?? []).filter((a) => a.state === state);
  const groups = [
    { title: 'Firing', alerts: of('firing'), none: 'Nothing fires.' },
    { title: 'Pending', alerts: of('pending'), none: undefined },
    { title: 'Resolved', alerts: of('resolved'), none: 'Nothing was resolved in this range.' },
  ];
  return (
    <>
      <h1 className="off-page">Alerts</h1>
      {incidents.length > 0 && (
        <section aria-label="Incidents" className={css.incidents}>
          {incidents.map((i) => (
            <IncidentLine key={i.id} incident={i} />
          ))}
        </section>
      )}
      {groups.map(
        ({ title, alerts, none }) =>
          (alerts.length > 0 || none) && (
            <section key={title} aria-label={title}>
              <h2 className={css.group}>
                {title} <span>{grouped(alerts.length)}</span>
              </h2>
              {alerts.length === 0 ? (
                <Nothing>{none}</Nothing>
              ) : (
                <ul className={css.list}>
                  {alerts.map((a) => (
                    <AlertCard key={a.id} alert={a} view={view} chosen={a.id === chosen} />
                  ))}
                </ul>
              )}
            </section>
          ),
      )}
    </>
  );
}
