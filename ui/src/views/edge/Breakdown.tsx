import { SegmentedControl } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo } from 'react';
import type { EdgeSearch } from '~/app/search';
import type { View } from '~/app/view';
import { grouped } from '~/lib/units';
import { Card } from '~/parts/Card';
import { orderWords } from '~/parts/grid/columns';
import { Grid } from '~/parts/grid/Grid';
import { useGroups } from '~/parts/groups';
import { Busy, Failure, Nothing } from '~/parts/states';

const BY = ['pod', 'node', 'zone'] as const;
const ROWS_MAX = 1000;

/** Which pods, nodes or zones the edge's trouble sits on. */
export function Breakdown({ view, filter }: { view: View; filter: string | undefined }) {
  const search = useSearch({ from: '/edges/$source/$dest' }) as EdgeSearch;
  const navigate = useNavigate();
  const by = search.by ?? 'pod';
  const group = useMemo(() => [`source.${by}`, `dest.${by}`], [by]);
  const { table, items: list, error } = useGroups(view, group, ROWS_MAX, filter);
  const set = (change: Partial<EdgeSearch>) =>
    void navigate({ to: '.', search: ((s: EdgeSearch) => ({ ...s, ...change })) as never, replace: true });
  const cut =
    table && table.groups_total > list.length ? `, the ${grouped(list.length)} with most bytes of ${grouped(table.groups_total)}` : '';
  return (
    <Card
      flush
      title={`By ${by}`}
      subtitle={
        by === 'pod' && table && table.resolution_s > 10
          ? 'Pods are kept in the ten-second rows only: choose a shorter or later range'
          : `${orderWords(search.sort)}${cut}`
      }
      aside={
        <SegmentedControl
          size="xs"
          aria-label="Break down by"
          data={[...BY]}
          value={by}
          onChange={(v) => set({ by: v === 'pod' ? undefined : (v as EdgeSearch['by']), sort: undefined })}
        />
      }
    >
      {error ? (
        <Failure error={error} height={120} />
      ) : !table ? (
        <Busy />
      ) : list.length === 0 ? (
        <Nothing height={80}>Nothing in this range.</Nothing>
      ) : (
        <Grid label={`By ${by}`} groupBy={group} items={list} sort={search.sort} onSort={(sort) => set({ sort })} filter={filter} />
      )}
    </Card>
  );
}
