import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useAlerts, useIncidents, useStatus } from '~/api/queries';
import type { Alert, Incident } from '~/api/types';
import type { AlertsSearch } from '~/app/search';
import { useView } from '~/app/view';
import { grouped } from '~/lib/units';
import { Busy, Failure, NoAgents, Nothing } from '~/parts/states';
import { AlertRow } from './AlertRow';
import css from './Alerts.module.css';
import { IncidentLine } from './IncidentLine';

const STATES: Alert['state'][] = ['firing', 'pending', 'resolved'];

/** Those that fire first, then the newest. */
const byState = (a: Alert, b: Alert) => STATES.indexOf(a.state) - STATES.indexOf(b.state) || Date.parse(b.since) - Date.parse(a.since);

interface Group {
  incident: Incident | undefined;
  alerts: Alert[];
}

/** By the incident that they belong to, in the order of the incidents; those of none last. */
export function groupsOf(incidents: Incident[], alerts: Alert[]): Group[] {
  const known = new Set(incidents.map((i) => i.id));
  const own = incidents.map((incident): Group => ({ incident, alerts: alerts.filter((a) => a.incident === incident.id).sort(byState) }));
  const none = alerts.filter((a) => !a.incident || !known.has(a.incident)).sort(byState);
  return none.length > 0 ? [...own, { incident: undefined, alerts: none }] : own;
}

/** Alerts of the range by incident: those that fire, those that wait for long enough, those that are over. One is unfolded. */
export function Alerts() {
  const view = useView();
  const navigate = useNavigate();
  const { alert: chosen } = useSearch({ from: '/alerts' }) as AlertsSearch;
  const status = useStatus().data;
  const answer = useAlerts(view.range);
  const incidents = useIncidents(view.range).data ?? [];
  const loaded = answer.data !== undefined;
  useEffect(() => {
    if (chosen && loaded) document.getElementById(`alert-${chosen}`)?.scrollIntoView({ block: 'center' });
  }, [chosen, loaded]);
  if (answer.error) return <Failure error={answer.error} height={200} />;
  if (!answer.data) return <Busy height={200} />;
  const { alerts, total } = answer.data;
  if (status?.headline.state === 'no_data' && alerts.length === 0) return <NoAgents />;
  const groups = groupsOf(incidents, alerts);
  const open = chosen ?? groups.find((g) => g.alerts.length > 0)?.alerts[0]?.id;
  const counted = STATES.map((state) => `${grouped(alerts.filter((a) => a.state === state).length)} ${state}`).join(' · ');
  const unfold = (id: string) =>
    void navigate({ to: '/alerts', search: (s: AlertsSearch) => ({ ...s, alert: id === open ? '' : id }), replace: true });
  return (
    <>
      <h1 className="off-page">Alerts</h1>
      <p className={css.counted}>
        {counted}
        {total > alerts.length && ` · the newest ${grouped(alerts.length)} of ${grouped(total)} are shown: choose a shorter range`}
      </p>
      {alerts.length === 0 && <Nothing height={120}>Nothing fires, and nothing was resolved in this range.</Nothing>}
      {groups.map(({ incident, alerts }) => (
        <section key={incident?.id ?? ''} className={css.group} aria-label={incident ? 'Incident' : 'Alerts of no incident'}>
          {incident ? <IncidentLine incident={incident} /> : <h2 className={css.none}>Of no incident</h2>}
          {alerts.length > 0 && (
            <ul className={css.list}>
              {alerts.map((a) => (
                <AlertRow key={a.id} alert={a} view={view} isOpen={a.id === open} onToggle={() => unfold(a.id)} />
              ))}
            </ul>
          )}
        </section>
      ))}
    </>
  );
}
