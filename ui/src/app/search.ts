/** What the address holds. Everything that a view shows follows from it, so that a link shows the same to everyone. */
import { DEFAULT_TO } from '~/lib/time';

/** Shared by all views; time, comparison and filter are carried along by every link between them. */
export interface Shared {
  from?: string | undefined;
  to?: string | undefined;
  compare?: string | undefined;
  filter?: string | undefined;
  /** The address, with its port perhaps, whose name is explained over the view; empty: it is still to be written. */
  why?: string | undefined;
  /** The moment of that question; absent: now. */
  why_at?: string | undefined;
}

export interface HomeSearch extends Shared {
  sort?: string | undefined;
  /** What the cells of the zone matrix show. */
  cells?: Cells | undefined;
}

export interface EdgesSearch extends Shared {
  group?: string | undefined;
  sort?: string | undefined;
}

/** Values of the zone matrix. */
export const CELLS = ['loss', 'rtt', 'connects', 'bytes'] as const;
export type Cells = (typeof CELLS)[number];

export const METRICS = ['bytes', 'rtt', 'loss', 'connects'] as const;
export type Metric = (typeof METRICS)[number];

export interface MapSearch extends Shared {
  metric?: Metric | undefined;
  /** Empty: the workloads without a name. */
  workload?: string | undefined;
  /** The selected edge. */
  source?: string | undefined;
  dest?: string | undefined;
}

export interface EdgeSearch extends Shared {
  by?: 'pod' | 'node' | 'zone' | undefined;
  sort?: string | undefined;
}

export interface DiagnoseSearch extends Shared {
  incident?: string | undefined;
  workload?: string | undefined;
  /** `range`: diagnose the chosen range though an incident is open. */
  ask?: 'range' | undefined;
}

export interface AlertsSearch extends Shared {
  /** The one that is unfolded; empty: none. */
  alert?: string | undefined;
}

const TEXT_MAX = 2000;

function text(raw: Record<string, unknown>, name: string): string | undefined {
  const value = raw[name];
  return typeof value === 'string' && value !== '' ? value.slice(0, TEXT_MAX) : undefined;
}

/** A name, which may be empty: whoever could not be named. */
function name(raw: Record<string, unknown>, field: string): string | undefined {
  return raw[field] === '' ? '' : text(raw, field);
}

function oneOf<T extends string>(raw: Record<string, unknown>, name: string, allowed: readonly T[]): T | undefined {
  return allowed.find((a) => a === raw[name]);
}

export function shared(raw: Record<string, unknown>): Shared {
  const to = text(raw, 'to');
  return {
    from: text(raw, 'from'),
    to: to === DEFAULT_TO ? undefined : to,
    compare: text(raw, 'compare'),
    filter: text(raw, 'filter'),
    why: name(raw, 'why'),
    why_at: text(raw, 'why_at'),
  };
}

export const homeSearch = (raw: Record<string, unknown>): HomeSearch => ({ sort: text(raw, 'sort'), cells: oneOf(raw, 'cells', CELLS) });
export const edgesSearch = (raw: Record<string, unknown>): EdgesSearch => ({ group: text(raw, 'group'), sort: text(raw, 'sort') });
export const mapSearch = (raw: Record<string, unknown>): MapSearch => ({
  metric: oneOf(raw, 'metric', METRICS),
  workload: name(raw, 'workload'),
  source: name(raw, 'source'),
  dest: name(raw, 'dest'),
});
export const edgeSearch = (raw: Record<string, unknown>): EdgeSearch => ({
  by: oneOf(raw, 'by', ['pod', 'node', 'zone'] as const),
  sort: text(raw, 'sort'),
});
export const diagnoseSearch = (raw: Record<string, unknown>): DiagnoseSearch => ({
  incident: text(raw, 'incident'),
  workload: text(raw, 'workload'),
  ask: oneOf(raw, 'ask', ['range'] as const),
});
export const alertsSearch = (raw: Record<string, unknown>): AlertsSearch => ({ alert: name(raw, 'alert') });

/** Only what is shared: for links from one view to another. */
export const carry = (search: Shared): Shared => ({ from: search.from, to: search.to, compare: search.compare, filter: search.filter });

/** The address's part after `?`: plain words, not JSON, so that people can read and write it. */
export const parseSearch = (search: string): Record<string, string> => Object.fromEntries(new URLSearchParams(search));

export function stringifySearch(search: object): string {
  const given = Object.entries(search).filter((p): p is [string, string] => typeof p[1] === 'string');
  return given.length ? `?${new URLSearchParams(given)}` : '';
}
