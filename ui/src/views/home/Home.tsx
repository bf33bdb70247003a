import { useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useAlerts, useEdges, useStatus } from '~/api/queries';
import { carry } from '~/app/search';
import { ask, useView } from '~/app/view';
import { items } from '~/lib/edges';
import { HEALTH_MEASURES } from '~/lib/health';
import { grouped } from '~/lib/units';
import { Card } from '~/parts/Card';
import { Grid } from '~/parts/grid/Grid';
import { More } from '~/parts/More';
import { Busy, Failure, NoAgents, Nothing } from '~/parts/states';
import { AlertList } from './AlertList';
import css from './Home.module.css';
import { Tiles } from './Tiles';
import { ZoneMatrix } from './ZoneMatrix';

const ROWS_SHOWN = 12;
const ROWS_ASKED = 10_000;
const GROUP = ['source.workload', 'dest.workload'];

export function Home() {
  const view = useView();
  const navigate = useNavigate();
  const status = useStatus().data;
  const [sort, setSort] = useState<string>();
  const edges = useEdges(
    ask(view, {
      group: GROUP,
      measures: ['tcp.bytes', ...HEALTH_MEASURES],
      filter: view.filter,
      sort: '-tcp.bytes',
      limit: ROWS_ASKED,
      compare: true,
    }),
  );
  const { data: alerts, error: alertsError } = useAlerts(view.range);
  const list = useMemo(() => items(edges.data, alerts ?? []), [edges.data, alerts]);
  if (status && status.coverage.agents_expected === 0 && list.length === 0) return <NoAgents />;
  return (
    <>
      <h1 className="off-page">Home</h1>
      <Tiles view={view} table={edges.data} items={list} alerts={alerts} />
      <div className={css.columns}>
        <Card
          flush
          title="Health of edges"
          subtitle={
            list.length > ROWS_SHOWN ? `Worst first, ${ROWS_SHOWN} of ${grouped(edges.data?.groups_total ?? list.length)}` : 'Worst first'
          }
          aside={<More to="/edges">All edges</More>}
        >
          {edges.error ? (
            <Failure error={edges.error} height={160} />
          ) : !edges.data ? (
            <Busy />
          ) : list.length === 0 ? (
            <Nothing height={160}>
              {view.filter ? 'No edge in this range passes the filter.' : 'No edge was seen in this range: choose a longer one.'}
            </Nothing>
          ) : (
            <Grid label="Health of edges" groupBy={GROUP} items={list} sort={sort} onSort={setSort} reasons most={ROWS_SHOWN} />
          )}
        </Card>
        <div className={css.side}>
          <Card flush title="Alerts" subtitle="Firing now, and resolved in this range" aside={<More to="/alerts">All alerts</More>}>
            <AlertList alerts={alerts} error={alertsError} />
          </Card>
          <Card title="Zones" subtitle="From the row to the column">
            <ZoneMatrix view={view} onPick={(filter) => void navigate({ to: '/edges', search: (s) => ({ ...carry(s), filter }) })} />
          </Card>
        </div>
      </div>
    </>
  );
}
