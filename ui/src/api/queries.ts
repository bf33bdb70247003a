/**
 * What the views ask, cached. A live range moves each window; the old answer stays on the page until the new one is there. To another
 * question it is no answer: then the page says that it loads.
 */
import { QueryClient, useQuery } from '@tanstack/react-query';
import { instant, type Range } from '~/lib/time';
import { ApiError, api } from './client';
import type { EdgeQuery } from './types';

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      gcTime: 60_000,
      refetchOnWindowFocus: false,
      // A wrong filter stays wrong; a server that restarts is back in a moment.
      retry: (failures, error) => failures < 2 && error instanceof ApiError && error.status >= 500,
      retryDelay: 500,
    },
  },
});

const STATUS_EVERY_MS = 5_000;

/** A live range moves by a window, a long one by a minute, an open incident's grows by as much. Farther off, numbers are of another time. */
const MOVE_MS_MAX = 60_000;

const near = (a: string, b: string) => Math.abs(Date.parse(a) - Date.parse(b)) <= MOVE_MS_MAX;

/** Whether both ask the same of about the same time. */
export function movesOn(old: EdgeQuery, now: EdgeQuery): boolean {
  const what = ({ from, to, compare_from, compare_to, ...rest }: EdgeQuery) =>
    JSON.stringify([rest, compare_from ? Date.parse(from) - Date.parse(compare_from) : 0]);
  return near(old.from, now.from) && near(old.to, now.to) && what(old) === what(now);
}

interface Asked {
  queryKey: readonly unknown[];
}

/** The old table for as long as only the moment moves on. */
export const whileItMoves =
  (ask: EdgeQuery | undefined) =>
  <T>(old: T | undefined, query: Asked | undefined): T | undefined => {
    const before = query?.queryKey[1] as EdgeQuery | undefined;
    return ask && before && movesOn(before, ask) ? old : undefined;
  };

/** The same for what is asked by from, to and perhaps more. */
const whileRangeMoves =
  (from: string, to: string, ...wanted: string[]) =>
  <T>(old: T | undefined, query: Asked | undefined): T | undefined => {
    const [, oldFrom, oldTo, ...rest] = (query?.queryKey ?? []) as string[];
    const same = oldFrom && oldTo && near(oldFrom, from) && near(oldTo, to) && rest.join() === wanted.join();
    return same ? old : undefined;
  };

export const useStatus = () =>
  useQuery({
    queryKey: ['status'],
    queryFn: ({ signal }) => api.status(signal),
    refetchInterval: STATUS_EVERY_MS,
    staleTime: 0,
    retry: false,
  });

export const useCatalogue = () =>
  useQuery({ queryKey: ['catalogue'], queryFn: ({ signal }) => api.catalogue(signal), staleTime: Number.POSITIVE_INFINITY });

/** An edge query; `undefined` asks nothing. */
export const useEdges = (ask: EdgeQuery | undefined) =>
  useQuery({
    queryKey: ['edges', ask],
    queryFn: ({ signal }) => {
      if (!ask) throw new Error('asked without a query');
      return api.edges(ask, signal);
    },
    enabled: ask !== undefined,
    placeholderData: whileItMoves(ask),
  });

const span = (range: Range) => [instant(range.from), instant(range.to)] as const;

/** Alerts that overlap the range, whatever their state: the newest, and how many there are in all. */
export function useAlerts(range: Range) {
  const [from, to] = span(range);
  return useQuery({
    queryKey: ['alerts', from, to],
    queryFn: ({ signal }) => api.alerts(from, to, signal),
    refetchInterval: range.live ? STATUS_EVERY_MS : false,
    placeholderData: whileRangeMoves(from, to),
  });
}

/** Incidents that overlap the range, newest first. */
export function useIncidents(range: Range) {
  const [from, to] = span(range);
  return useQuery({
    queryKey: ['incidents', from, to],
    queryFn: ({ signal }) => api.incidents(from, to, signal),
    refetchInterval: range.live ? STATUS_EVERY_MS : false,
    placeholderData: whileRangeMoves(from, to),
    select: (answer) => answer.incidents,
  });
}

export const useIncident = (id: string | undefined) =>
  useQuery({
    queryKey: ['incident', id],
    queryFn: ({ signal }) => api.incident(id ?? '', signal),
    enabled: id !== undefined,
    refetchInterval: (q) => (q.state.data?.closed_at ? false : STATUS_EVERY_MS),
  });

/** Names that a workload asked DNS for, the most asked first. */
export function useAsked(range: Range, workload: string, limit: number) {
  const [from, to] = span(range);
  return useQuery({
    queryKey: ['asked', from, to, workload, limit],
    placeholderData: whileRangeMoves(from, to, workload, String(limit)),
    queryFn: ({ signal }) => api.asked(from, to, workload, limit, signal),
  });
}

export function useDiagnosis(range: Range, workload: string | undefined, enabled: boolean) {
  const [from, to] = span(range);
  return useQuery({
    queryKey: ['diagnose', from, to, workload ?? ''],
    placeholderData: whileRangeMoves(from, to, workload ?? ''),
    queryFn: ({ signal }) => api.diagnose(from, to, workload, signal),
    enabled,
  });
}

/** Whose address it is or was; no text asks nothing. What `at` means moves with the clock where it is absent or a distance. */
export const useWhy = (address: string, at: string | undefined) =>
  useQuery({
    queryKey: ['why', address, at ?? ''],
    queryFn: ({ signal }) => api.why(address, at, signal),
    enabled: address !== '',
  });
