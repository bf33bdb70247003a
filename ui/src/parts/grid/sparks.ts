/** Series for the rows in sight, asked for in blocks: ten thousand edges stay a light page. */
import { useQueries } from '@tanstack/react-query';
import { useMemo } from 'react';
import { api } from '~/api/client';
import { whileItMoves } from '~/api/queries';
import type { EdgesAnswer } from '~/api/types';
import { ask, type View } from '~/app/view';
import { type EdgeItem, idOf, series } from '~/lib/edges';
import { all, keysFilter } from '~/lib/filter';

/** Rows of one request: a screenful. */
const BLOCK = 40;

/** What the table's lines and the charts' overlay need. */
export const SPARK_MEASURES = [
  'tcp.bytes',
  'tcp.rtt.p95',
  'tcp.retrans_rate',
  'tcp.connect_failure_rate',
  'tcp.rtt_max',
  'tcp.connect_timeouts',
  'tcp.retrans',
];

/** Values by step of a row and measure; undefined while they are on their way. */
export type Sparks = (id: string, measure: string) => (number | null)[] | undefined;

export interface Sight {
  first: number;
  last: number;
}

export function useSparks(view: View, groupBy: string[], filter: string | undefined, rows: EdgeItem[], sight: Sight): Sparks {
  const blocks = useMemo(() => {
    const from = Math.floor(sight.first / BLOCK);
    const to = Math.min(Math.floor(sight.last / BLOCK), Math.ceil(rows.length / BLOCK) - 1);
    return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => rows.slice((from + i) * BLOCK, (from + i + 1) * BLOCK));
  }, [rows, sight.first, sight.last]);
  const answers = useQueries({
    queries: blocks.map((block) => {
      // Sorted, so that rows that only change places ask nothing new.
      const keys = block.map((r) => r.key).sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
      const query = ask(view, {
        group: groupBy,
        measures: SPARK_MEASURES,
        step: view.step,
        filter: all(filter, keysFilter(groupBy, keys)),
        limit: BLOCK,
      });
      return {
        queryKey: ['edges', query],
        queryFn: ({ signal }: { signal: AbortSignal }) => api.edges(query, signal),
        enabled: keys.length > 0,
        placeholderData: whileItMoves(query),
      };
    }),
    combine: (results) => results.map((r) => r.data),
  });
  return useMemo(() => {
    const byId = new Map<string, { table: EdgesAnswer; row: EdgesAnswer['rows'][number] }>();
    for (const table of answers) for (const row of table?.rows ?? []) if (table) byId.set(idOf(row.key), { table, row });
    return (id, measure) => {
      const found = byId.get(id);
      return found && series(found.table, found.row, measure);
    };
  }, [answers]);
}
