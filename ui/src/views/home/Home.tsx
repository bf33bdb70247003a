import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useIncidents, useStatus } from '~/api/queries';
import { carry, type HomeSearch } from '~/app/search';
import { useView } from '~/app/view';
import { alertsAmong, blindSpot } from '~/lib/health';
import { grouped } from '~/lib/units';
import { Card } from '~/parts/Card';
import { orderWords } from '~/parts/grid/columns';
import { Grid } from '~/parts/grid/Grid';
import { PAIR, useGroups } from '~/parts/groups';
import { More } from '~/parts/More';
import { Busy, Failure, NoAgents, Nothing } from '~/parts/states';
import { AlertList } from './AlertList';
import css from './Home.module.css';
import { Tiles } from './Tiles';
import { ZoneMatrix } from './ZoneMatrix';

const ROWS_SHOWN = 12;
const ROWS_ASKED = 10_000;

export function Home() {
  const view = useView();
  const navigate = useNavigate();
  const search = useSearch({ from: '/' }) as HomeSearch;
  const status = useStatus().data;
  const incidents = useIncidents(view.range).data;
  const { table, items: list, alerts: all, alertsTotal, error, alertsError } = useGroups(view, PAIR, ROWS_ASKED);
  const alerts = useMemo(
    () =>
      all && view.filter && table
        ? alertsAmong(
            PAIR,
            table.rows.map((r) => r.key),
            all,
          )
        : all,
    [all, view.filter, table],
  );
  const set = (change: Partial<HomeSearch>) => void navigate({ to: '/', search: (s: HomeSearch) => ({ ...s, ...change }), replace: true });
  if (status && status.coverage.agents_expected === 0 && list.length === 0) return <NoAgents />;
  const blind = table && blindSpot(table.coverage);
  const subtitle = [
    orderWords(search.sort),
    list.length > ROWS_SHOWN ? `${ROWS_SHOWN} of ${grouped(table?.groups_total ?? list.length)}` : '',
    blind ? `${blind}: none can be called healthy` : '',
  ];
  return (
    <>
      <h1 className="off-page">Home</h1>
      <Tiles view={view} table={table} items={list} alerts={alerts} />
      <div className={css.columns}>
        <Card
          flush
          title="Health of edges"
          subtitle={subtitle.filter((s) => s !== '').join(' · ')}
          aside={<More to="/edges">All edges</More>}
        >
          {error ? (
            <Failure error={error} height={160} />
          ) : !table ? (
            <Busy />
          ) : list.length === 0 ? (
            <Nothing height={160}>
              {view.filter ? 'No edge in this range passes the filter.' : 'No edge was seen in this range: choose a longer one.'}
            </Nothing>
          ) : (
            <Grid
              label="Health of edges"
              groupBy={PAIR}
              items={list}
              filter={view.filter}
              sort={search.sort}
              onSort={(sort) => set({ sort })}
              reasons
              most={ROWS_SHOWN}
            />
          )}
        </Card>
        <div className={css.side}>
          <Card title="Zones" subtitle="From the row to the column">
            <ZoneMatrix
              view={view}
              cells={search.cells ?? 'loss'}
              onCells={(cells) => set({ cells: cells === 'loss' ? undefined : cells })}
              onPick={(filter) => void navigate({ to: '/edges', search: (s) => ({ ...carry(s), filter }) })}
            />
          </Card>
          <Card
            flush
            title="Alerts"
            subtitle={view.filter ? 'On the edges that pass the filter' : 'Firing now, and resolved in this range'}
            aside={<More to="/alerts">All alerts</More>}
          >
            <AlertList alerts={alerts} incidents={incidents ?? []} unsent={alertsTotal - (all?.length ?? 0)} error={alertsError} />
          </Card>
        </div>
      </div>
    </>
  );
}
