/** An answer of the API as the views read it: by name instead of by position. */
import type { Alert, EdgeRow, EdgesAnswer, EdgeTable } from '~/api/types';
import { alertsOn, blindSpot, type Health, health } from './health';

export interface EdgeItem {
  /** Stable: the values of the grouping. */
  id: string;
  key: string[];
  value: (measure: string) => number | null | undefined;
  before: (measure: string) => number | null | undefined;
  health: Health;
  alerts: Alert[];
}

const SEPARATOR = '\u0000';

export const idOf = (key: string[]) => key.join(SEPARATOR);

/** How people name a group: `frontend → cartservice`. */
export function nameOf(groupBy: string[], key: string[]): string {
  const shown = key.map((v) => v || 'n/a');
  return directed(groupBy) ? shown.join(' → ') : shown.join(' · ');
}

/** Whether the grouping is by one dimension of the source and the same of the destination. */
export function directed(groupBy: string[]): boolean {
  const [a = '', b = ''] = groupBy;
  return groupBy.length === 2 && a.startsWith('source.') && b === `dest.${a.slice(7)}`;
}

function lookup(table: EdgeTable, values: (number | null)[] | undefined) {
  return (measure: string) => {
    const i = table.measures.indexOf(measure);
    return i < 0 ? undefined : values?.[i];
  };
}

export function items(table: EdgesAnswer | undefined, alerts: Alert[]): EdgeItem[] {
  if (!table) return [];
  const blind = blindSpot(table.coverage);
  return table.rows.map((row) => item(table, row, alerts, blind));
}

function item(table: EdgeTable, row: EdgeRow, alerts: Alert[], blind: string | undefined): EdgeItem {
  const value = lookup(table, row.totals);
  const before = lookup(table, row.compare);
  const on = alertsOn(table.group_by, row.key, alerts);
  const own = health(value, row.compare ? before : undefined, on, blind);
  return { id: idOf(row.key), key: row.key, value, before, health: own, alerts: on };
}

/** Series of one measure of one row. */
export function series(table: EdgeTable, row: EdgeRow, measure: string): (number | null)[] {
  const i = table.measures.indexOf(measure);
  return row.series?.[i] ?? table.steps.map(() => null);
}

/** Worst first; among equals the one with more traffic. */
export function byHealth(a: EdgeItem, b: EdgeItem): number {
  return b.health.score - a.health.score || (b.value('tcp.bytes') ?? 0) - (a.value('tcp.bytes') ?? 0);
}

/** Sum by step of some measure over all rows but the drawn ones: what a chart shows as the rest. */
export function rest(total: (number | null)[], drawn: (number | null)[][]): (number | null)[] {
  return total.map((all, i) => {
    if (all === null) return null;
    const sum = drawn.reduce((s, d) => s + (d[i] ?? 0), 0);
    return Math.max(0, all - sum);
  });
}
