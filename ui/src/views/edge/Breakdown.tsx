import { SegmentedControl } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useAlerts, useEdges } from '~/api/queries';
import type { EdgeSearch } from '~/app/search';
import { ask, type View } from '~/app/view';
import { items } from '~/lib/edges';
import { HEALTH_MEASURES } from '~/lib/health';
import { grouped } from '~/lib/units';
import { Card } from '~/parts/Card';
import { Grid } from '~/parts/grid/Grid';
import { Busy, Failure, Nothing } from '~/parts/states';

const BY = ['pod', 'node', 'zone'] as const;
const ROWS_MAX = 1000;

/** Which pods, nodes or zones the edge's trouble sits on. */
export function Breakdown({ view, filter }: { view: View; filter: string | undefined }) {
  const search = useSearch({ from: '/edges/$source/$dest' }) as EdgeSearch;
  const navigate = useNavigate();
  const by = search.by ?? 'pod';
  const [sort, setSort] = useState<string>();
  const group = useMemo(() => [`source.${by}`, `dest.${by}`], [by]);
  const answer = useEdges(
    ask(view, { group, measures: ['tcp.bytes', ...HEALTH_MEASURES], filter, sort: '-tcp.bytes', limit: ROWS_MAX, compare: true }),
  );
  const alerts = useAlerts(view.range).data;
  const table = answer.data?.group_by.join() === group.join() ? answer.data : undefined;
  const list = useMemo(() => items(table, alerts ?? []), [table, alerts]);
  const cut =
    table && table.groups_total > list.length ? `, the ${grouped(list.length)} with most bytes of ${grouped(table.groups_total)}` : '';
  return (
    <Card
      flush
      title={`By ${by}`}
      subtitle={
        by === 'pod' && table && table.resolution_s > 10
          ? 'Pods are kept in the ten-second rows only: choose a shorter or later range'
          : `Worst first${cut}`
      }
      aside={
        <SegmentedControl
          size="xs"
          aria-label="Break down by"
          data={[...BY]}
          value={by}
          onChange={(v) =>
            void navigate({ to: '.', search: ((s: EdgeSearch) => ({ ...s, by: v === 'pod' ? undefined : v })) as never, replace: true })
          }
        />
      }
    >
      {answer.error ? (
        <Failure error={answer.error} height={120} />
      ) : !table ? (
        <Busy />
      ) : list.length === 0 ? (
        <Nothing height={80}>Nothing in this range.</Nothing>
      ) : (
        <Grid label={`By ${by}`} groupBy={group} items={list} sort={sort} onSort={setSort} />
      )}
    </Card>
  );
}
