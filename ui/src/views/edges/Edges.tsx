import { useNavigate, useSearch } from '@tanstack/react-router';
import { useCallback, useMemo, useState } from 'react';
import { useStatus } from '~/api/queries';
import type { EdgesAnswer } from '~/api/types';
import type { EdgesSearch } from '~/app/search';
import { useView } from '~/app/view';
import { type EdgeItem, nameOf } from '~/lib/edges';
import { all, equals } from '~/lib/filter';
import { blindSpot } from '~/lib/health';
import type { Range } from '~/lib/time';
import { grouped, plural } from '~/lib/units';
import { Card } from '~/parts/Card';
import type { Shade } from '~/parts/chart/types';
import { Grid } from '~/parts/grid/Grid';
import { type Sight, useSparks } from '~/parts/grid/sparks';
import { useGroups } from '~/parts/groups';
import { useShades } from '~/parts/shades';
import { Busy, Failure, NoAgents, Nothing } from '~/parts/states';
import { DEFAULT_GROUP, GroupBy } from './GroupBy';
import { IncidentCharts } from './IncidentCharts';

/** Rows that the browser sorts by itself; with more the server's order decides which come, and the table says so. */
const ROWS_MAX = 10_000;

export function Edges() {
  const view = useView();
  const search = useSearch({ from: '/edges' }) as EdgesSearch;
  const navigate = useNavigate();
  const status = useStatus().data;
  const groupBy = useMemo(() => (search.group ?? DEFAULT_GROUP).split(',').filter(Boolean).slice(0, 2), [search.group]);
  const { table, items: list, error } = useGroups(view, groupBy, ROWS_MAX);
  const shades = useShades(view);
  const [seen, setSeen] = useState<{ sight: Sight; rows: EdgeItem[] }>({ sight: { first: 0, last: 0 }, rows: [] });
  const onSight = useCallback((sight: Sight, rows: EdgeItem[]) => setSeen({ sight, rows }), []);
  const sparks = useSparks(view, groupBy, view.filter, seen.rows, seen.sight);
  const [litItem, setLitItem] = useState<EdgeItem>();
  const [litName, setLitName] = useState<string>();
  const lit = litItem ? { id: litItem.id, name: nameOf(groupBy, litItem.key) } : litName ? { id: '', name: litName } : undefined;
  const set = (change: Partial<EdgesSearch>) =>
    void navigate({ to: '/edges', search: (s: EdgesSearch) => ({ ...s, ...change }), replace: true });

  const shade = useMemo(() => shareOf(shades[0], view.range), [shades, view.range]);
  const onPick = useCallback(
    (item: EdgeItem) => view.set({ filter: all(view.filter, ...groupBy.map((d, i) => equals(d, item.key[i] ?? ''))) }),
    [view, groupBy],
  );

  if (status && status.coverage.agents_expected === 0 && list.length === 0) return <NoAgents />;
  return (
    <>
      <h1 className="off-page">Edges</h1>
      <IncidentCharts view={view} groupBy={groupBy} filter={view.filter} shades={shades} lit={lit} onLit={setLitName} sparks={sparks} />
      <Card
        flush
        title={table ? plural(table.groups_total, groupBy.join() === DEFAULT_GROUP ? 'edge' : 'group') : 'Edges'}
        subtitle={subtitle(table)}
        aside={
          <GroupBy
            value={groupBy}
            onChange={(group) => set({ group: group.join() === DEFAULT_GROUP ? undefined : group.join(), sort: undefined })}
          />
        }
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
            label="Edges"
            groupBy={groupBy}
            items={list}
            sort={search.sort}
            onSort={(sort) => set({ sort })}
            sparks={sparks}
            onSight={onSight}
            lit={lit?.name}
            onLit={setLitItem}
            onPick={onPick}
            filter={view.filter}
            shade={shade}
          />
        )}
      </Card>
    </>
  );
}

function subtitle(table: EdgesAnswer | undefined): string {
  const blind = table && blindSpot(table.coverage);
  if (table && table.groups_total > table.rows.length)
    return `The ${grouped(table.rows.length)} with most bytes; narrow the filter to see the others`;
  return blind ? `Direction is that of the bytes · ${blind}: none can be called healthy` : 'Direction is that of the bytes';
}

/** The part of the range that an incident takes, as shares of its length. */
function shareOf(shade: Shade | undefined, range: Range): { from: number; to: number } | undefined {
  if (!shade) return undefined;
  const [start, length] = [range.from.getTime(), range.to.getTime() - range.from.getTime()];
  return { from: Math.max(0, (shade.from - start) / length), to: Math.min(1, (shade.to - start) / length) };
}
