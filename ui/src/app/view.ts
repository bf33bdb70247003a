/** The range, comparison and filter of the page, as every view needs them. */
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useSyncExternalStore } from 'react';
import { queryClient } from '~/api/queries';
import type { EdgeQuery, Status } from '~/api/types';
import { compareRange, DEFAULT_TO, defaultFrom, instant, liveEnd, type Range, resolveRange, stepFor } from '~/lib/time';
import type { Shared } from './search';

let standing: string | undefined;

/** The default range, chosen once by the server's age: a page does not change its range by itself. The shell waits for the first status. */
function chosenDefault(): string {
  standing ??= defaultFrom(queryClient.getQueryData<Status>(['status'])?.uptime_s);
  return standing;
}

let end = liveEnd(new Date()).getTime();

/** Calls back when the live end moves on by a window. */
function onWindow(moved: () => void): () => void {
  const timer = setInterval(() => {
    const next = liveEnd(new Date()).getTime();
    if (next === end) return;
    end = next;
    moved();
  }, 1000);
  return () => clearInterval(timer);
}

export interface View {
  fromText: string;
  toText: string;
  range: Range;
  /** Seconds of the range and of a step of its charts. */
  seconds: number;
  step: number;
  compare: { from: Date; to: Date } | undefined;
  filter: string | undefined;
  set: (change: Shared, replace?: boolean) => void;
}

export function useView(): View {
  const search = useSearch({ strict: false }) as Shared;
  const navigate = useNavigate();
  const tick = useSyncExternalStore(onWindow, () => end);
  const fromText = search.from ?? chosenDefault();
  const toText = search.to ?? DEFAULT_TO;
  return useMemo(() => {
    // A moment after the live end, so that `now` resolves to it.
    const range = resolveRange(fromText, toText, new Date(tick + 6_000));
    const seconds = (range.to.getTime() - range.from.getTime()) / 1000;
    return {
      fromText,
      toText,
      range,
      seconds,
      step: stepFor(seconds),
      compare: compareRange(search.compare, range),
      filter: search.filter,
      set: (change: Shared, replace = false) => {
        void navigate({ to: '.', search: ((old: Shared) => ({ ...old, ...change })) as never, replace });
      },
    };
  }, [fromText, toText, tick, search.compare, search.filter, navigate]);
}

export interface Ask {
  group: string[];
  measures: string[];
  filter?: string | undefined;
  step?: number | undefined;
  sort?: string | undefined;
  limit?: number | undefined;
  compare?: boolean | undefined;
}

/** An edge query over the page's range. */
export function ask(view: Pick<View, 'range' | 'compare'>, what: Ask): EdgeQuery {
  const query: EdgeQuery = { from: instant(view.range.from), to: instant(view.range.to), group_by: what.group, measures: what.measures };
  if (what.filter) query.filter = what.filter;
  if (what.step) query.step_s = what.step;
  if (what.sort) query.sort = what.sort;
  if (what.limit) query.limit = what.limit;
  if (what.compare && view.compare) {
    query.compare_from = instant(view.compare.from);
    query.compare_to = instant(view.compare.to);
  }
  return query;
}
