/** The groups of edges of a range with their health: what tables, matrix and map read. */
import { useMemo } from 'react';
import { useAlerts, useEdges } from '~/api/queries';
import type { Alert, EdgesAnswer } from '~/api/types';
import { ask, type View } from '~/app/view';
import { type EdgeItem, items } from '~/lib/edges';
import { HEALTH_MEASURES } from '~/lib/health';

export const PAIR = ['source.workload', 'dest.workload'];
const NO_ALERTS: Alert[] = [];

export interface Groups {
  table: EdgesAnswer | undefined;
  items: EdgeItem[];
  alerts: Alert[] | undefined;
  /** More alerts than the server sends at once. */
  alertsTotal: number;
  error: Error | null;
  alertsError: Error | null;
}

/** With the most bytes first, where not all come. */
export function useGroups(view: View, group: string[], limit: number | undefined, filter = view.filter): Groups {
  const answer = useEdges(
    ask(view, { group, measures: ['tcp.bytes', 'udp.bytes', ...HEALTH_MEASURES], filter, sort: '-tcp.bytes', limit, compare: true }),
  );
  const told = useAlerts(view.range);
  const alerts = told.data?.alerts;
  const list = useMemo(() => items(answer.data, alerts ?? NO_ALERTS), [answer.data, alerts]);
  return { table: answer.data, items: list, alerts, alertsTotal: told.data?.total ?? 0, error: answer.error, alertsError: told.error };
}
