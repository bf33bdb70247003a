import { useMemo } from 'react';
import { useIncidents } from '~/api/queries';
import type { View } from '~/app/view';
import { period } from '~/lib/words';
import type { Shade } from './chart/types';

/** The periods of incidents in the range, for the charts' background. */
export function useShades(view: View): Shade[] {
  const incidents = useIncidents(view.range).data;
  const end = view.range.to.getTime();
  return useMemo(() => (incidents ?? []).map((i) => period(i, end)), [incidents, end]);
}
