import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect } from 'react';
import { useDiagnosis, useIncident, useIncidents, useStatus } from '~/api/queries';
import type { Incident } from '~/api/types';
import { carry, type DiagnoseSearch } from '~/app/search';
import { useView } from '~/app/view';
import { plural } from '~/lib/units';
import { sinceOf } from '~/lib/words';
import { Moment } from '~/parts/marks';
import { Busy, Failure, NoAgents, Nothing } from '~/parts/states';
import { Asked } from './Asked';
import { Report } from './Report';

/** The verdict's page: of an incident, or of the range that was asked for. */
export function Diagnose() {
  const view = useView();
  const search = useSearch({ from: '/diagnose' }) as DiagnoseSearch;
  const navigate = useNavigate();
  const status = useStatus().data;
  const incidents = useIncidents(view.range).data ?? [];
  const open = status?.incident?.id;
  const wanted = search.incident ?? (search.ask === 'range' || search.workload ? undefined : open);
  const incident = useIncident(wanted);
  const asked = useDiagnosis(view.range, search.workload, status !== undefined && wanted === undefined);
  const unwritten = wanted !== undefined && search.incident === undefined;
  // The address names what is shown: pasted elsewhere or opened later, it shows the same.
  useEffect(() => {
    if (unwritten) void navigate({ to: '/diagnose', search: (s: DiagnoseSearch) => ({ ...s, incident: wanted }), replace: true });
  }, [unwritten, wanted, navigate]);
  const set = (change: Partial<DiagnoseSearch>) =>
    void navigate({
      to: '/diagnose',
      search: (s: DiagnoseSearch) => ({ ...s, incident: undefined, workload: undefined, ask: undefined, ...change }),
    });

  const known = incident.data && !incidents.some((i) => i.id === incident.data.id) ? [incident.data, ...incidents] : incidents;
  const verdict = wanted ? incident.data?.verdict : asked.data;
  const error = wanted ? incident.error : asked.error;
  if (status?.headline.state === 'no_data') return <NoAgents />;
  return (
    <>
      <h1 className="off-page">Diagnose</h1>
      <Asked view={view} incidents={known} incident={wanted} workload={search.workload} onChange={set} />
      {error ? (
        <Failure error={error} height={200} />
      ) : verdict ? (
        <Report verdict={verdict} incident={wanted ? incident.data : undefined} view={view} />
      ) : incident.data ? (
        <Undecided incident={incident.data} />
      ) : (
        <Busy height={240} />
      )}
    </>
  );
}

/** An incident that nothing was said about: the server still looks, or it closed before it could. */
function Undecided({ incident }: { incident: Incident }) {
  return (
    <Nothing height={200}>
      {incident.closed_at
        ? 'This incident closed before a verdict was made.'
        : 'The verdict is being made: it appears here within a round of ten seconds.'}{' '}
      Since <Moment at={sinceOf(incident)} />,{' '}
      <Link to="/alerts" search={carry}>
        {plural(incident.alerts.length, 'alert')}
      </Link>
      .
    </Nothing>
  );
}
