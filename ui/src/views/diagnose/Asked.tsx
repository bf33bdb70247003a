import { Select } from '@mantine/core';
import { useMemo } from 'react';
import { useEdges } from '~/api/queries';
import type { Incident } from '~/api/types';
import type { DiagnoseSearch } from '~/app/search';
import { ask, type View } from '~/app/view';
import { clock, rangeLabel } from '~/lib/time';
import { incidentHeadline, sinceOf } from '~/lib/words';
import { bdiOption } from '~/parts/marks';
import css from './Diagnose.module.css';

const RANGE = 'range';

interface Props {
  view: View;
  incidents: Incident[];
  incident: string | undefined;
  workload: string | undefined;
  onChange: (change: Partial<DiagnoseSearch>) => void;
}

/** What is diagnosed: an incident, or the range of the top bar, whole or as far as a workload is touched. */
export function Asked({ view, incidents, incident, workload, onChange }: Props) {
  const names = useEdges(
    incident ? undefined : ask(view, { group: ['source.workload'], measures: ['tcp.bytes'], sort: '-tcp.bytes', limit: 1000 }),
  ).data;
  const workloads = useMemo(() => {
    const list = (names?.rows ?? []).map((r) => r.key[0] ?? '').filter((n) => n !== '');
    return workload && !list.includes(workload) ? [workload, ...list] : list;
  }, [names, workload]);
  const options = [
    { value: RANGE, label: `The range: ${rangeLabel(view.fromText, view.toText, view.range)}` },
    ...incidents.map((i) => {
      const { answer, what } = incidentHeadline(i);
      return { value: i.id, label: [`Since ${clock(new Date(sinceOf(i)))}`, answer, ...what].join(' · ') };
    }),
  ];
  return (
    <div className={`${css.asked} no-print`}>
      <Select
        size="xs"
        className={css.which}
        aria-label="What to diagnose"
        data={options}
        renderOption={bdiOption}
        value={incident ?? RANGE}
        allowDeselect={false}
        onChange={(v) => onChange(v === RANGE || !v ? { ask: 'range' } : { incident: v })}
      />
      {!incident && (
        <Select
          size="xs"
          aria-label="Only trouble that touches"
          placeholder="all workloads"
          data={workloads}
          renderOption={bdiOption}
          value={workload ?? null}
          searchable
          clearable
          onChange={(v) => onChange({ ask: 'range', workload: v ?? undefined })}
        />
      )}
    </div>
  );
}
