/** Columns of the edges table, and the table's model: what it sorts by is what stands in the address. */
import { createSortedRowModel, rowSortingFeature, type SortingState, tableFeatures, useTable } from '@tanstack/react-table';
import { useMemo } from 'react';
import type { Unit } from '~/api/types';
import { byHealth, type EdgeItem } from '~/lib/edges';

export interface MeasureColumn {
  measure: string;
  label: string;
  unit: Unit;
  /** More of it is worse. */
  worse: boolean;
}

export const MEASURE_COLUMNS: MeasureColumn[] = [
  { measure: 'tcp.bytes', label: 'Bytes', unit: 'bytes', worse: false },
  { measure: 'tcp.rtt.p95', label: 'RTT p95', unit: 'seconds', worse: true },
  { measure: 'tcp.retrans_rate', label: 'Retransmitted', unit: 'ratio', worse: true },
  { measure: 'tcp.connect_failure_rate', label: 'Connects failed', unit: 'ratio', worse: true },
];

export const DEFAULT_SORT = '-health';

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });

/** `-tcp.bytes` as the table's state. */
export function readSort(sort: string | undefined, known: string[]): SortingState {
  const text = sort ?? DEFAULT_SORT;
  const id = text.replace(/^-/, '');
  return known.includes(id) ? [{ id, desc: text.startsWith('-') }] : [{ id: 'health', desc: true }];
}

/** How the rows stand, in words. */
export function orderWords(sort: string | undefined): string {
  const id = (sort ?? DEFAULT_SORT).replace(/^-/, '');
  const down = (sort ?? DEFAULT_SORT).startsWith('-');
  const column = MEASURE_COLUMNS.find((c) => c.measure === id);
  if (column) return `By ${column.label.replace(/^[A-Z](?=[a-z])/, (c) => c.toLowerCase())}, ${down ? 'greatest' : 'least'} first`;
  if (id === 'health') return down ? 'Worst first' : 'Healthiest first';
  return down ? 'By name, from Z' : 'By name';
}

/** What a press on a column's head sorts by next: names from A, numbers from the greatest. */
export function nextSort(current: SortingState, id: string): string {
  const now = current[0];
  const downFirst = id === 'health' || id.startsWith('tcp.');
  const down = now?.id === id ? !now.desc : downFirst;
  return `${down ? '-' : ''}${id}`;
}

/** Rows in the order of `sort`; absent values last. */
export function useSorted(groupBy: string[], data: EdgeItem[], sort: string | undefined): { rows: EdgeItem[]; sorting: SortingState } {
  const columns = useMemo(
    () => [
      {
        id: 'health',
        accessorFn: (e: EdgeItem) => e.health.score,
        sortFn: (a: { original: EdgeItem }, b: { original: EdgeItem }) => -byHealth(a.original, b.original),
      },
      ...groupBy.map((dim, i) => ({ id: dim, accessorFn: (e: EdgeItem) => e.key[i] || undefined, sortUndefined: 'last' as const })),
      ...MEASURE_COLUMNS.map((c) => ({
        id: c.measure,
        accessorFn: (e: EdgeItem) => e.value(c.measure) ?? undefined,
        sortUndefined: 'last' as const,
      })),
    ],
    [groupBy],
  );
  const sorting = useMemo(() => readSort(sort, ['health', ...groupBy, ...MEASURE_COLUMNS.map((c) => c.measure)]), [sort, groupBy]);
  const table = useTable({ features, columns, data, state: { sorting }, getRowId: (e: EdgeItem) => e.id });
  const model = table.getRowModel();
  return { rows: useMemo(() => model.rows.map((r) => r.original), [model]), sorting };
}
