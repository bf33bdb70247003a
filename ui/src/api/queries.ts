/** What the views ask, cached. A live range moves each window; the old answer stays on the page until the new one is there. */
import { keepPreviousData, QueryClient, useQuery } from '@tanstack/react-query';
import { instant, type Range } from '~/lib/time';
import { ApiError, api } from './client';
import type { EdgeQuery } from './types';

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      gcTime: 60_000,
      refetchOnWindowFocus: false,
      placeholderData: keepPreviousData,
      // A wrong filter stays wrong; a server that restarts is back in a moment.
      retry: (failures, error) => failures < 2 && error instanceof ApiError && error.status >= 500,
      retryDelay: 500,
    },
  },
});

const STATUS_EVERY_MS = 5_000;

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
  });

const span = (range: Range) => [instant(range.from), instant(range.to)] as const;

/** Alerts that overlap the range, whatever their state. */
export function useAlerts(range: Range) {
  const [from, to] = span(range);
  return useQuery({
    queryKey: ['alerts', from, to],
    queryFn: ({ signal }) => api.alerts(from, to, signal),
    refetchInterval: range.live ? STATUS_EVERY_MS : false,
    select: (answer) => answer.alerts,
  });
}

/** Incidents that overlap the range, newest first. */
export function useIncidents(range: Range) {
  const [from, to] = span(range);
  return useQuery({
    queryKey: ['incidents', from, to],
    queryFn: ({ signal }) => api.incidents(from, to, signal),
    refetchInterval: range.live ? STATUS_EVERY_MS : false,
    select: (answer) => answer.incidents,
  });
}

export const useIncident = (id: string | undefined) =>
  useQuery({
    queryKey: ['incident', id],
    queryFn: ({ signal }) => api.incident(id ?? '', signal),
    enabled: id !== undefined,
    refetchInterval: (q) => (q.state.data?.closed_at ? false : STATUS_EVERY_MS),
    // Another incident's verdict must not stand under this one's name.
    placeholderData: undefined,
  });

export function useDiagnosis(range: Range, workload: string | undefined, enabled: boolean) {
  const [from, to] = span(range);
  return useQuery({
    queryKey: ['diagnose', from, to, workload ?? ''],
    queryFn: ({ signal }) => api.diagnose(from, to, workload, signal),
    enabled,
  });
}
