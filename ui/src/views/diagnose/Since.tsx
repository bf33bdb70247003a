import { useCatalogue, useEdges } from '~/api/queries';
import type { EdgeQuery, EdgesAnswer, Incident, Verdict } from '~/api/types';
import type { View } from '~/app/view';
import { series } from '~/lib/edges';
import { clock, instant, stepFor } from '~/lib/time';
import { unitOf } from '~/lib/units';
import { measureOf, suspectFilter, where } from '~/lib/words';
import { ChartCard } from '~/parts/ChartCard';
import type { ChartData } from '~/parts/chart/types';
import { chartOf } from '../edge/plans';
import css from './Diagnose.module.css';

const WINDOW_MS = 10_000;

interface Props {
  verdict: Verdict;
  incident: Incident | undefined;
  view: View;
  since: string | undefined;
}

/** Since when: the culprit's edges against all others, with the moment it began; and what it did to their traffic. */
export function Since(props: Props) {
  const catalogue = useCatalogue().data;
  return (
    <div className={css.two}>
      <Compared {...props} measure={measureOf(props.verdict, catalogue)} />
      <Compared {...props} measure="tcp.bytes" />
    </div>
  );
}

/** Healthy past that is drawn before the trouble: as long as the trouble, and five minutes at least. */
const PAST_MS = 300_000;

/** What was looked at, with enough past to see the change, on window borders. */
function shown(verdict: Verdict, since: number | undefined): [number, number] {
  const end = Math.ceil(Date.parse(verdict.to) / WINDOW_MS) * WINDOW_MS;
  const start = since === undefined ? Date.parse(verdict.from) : Math.min(Date.parse(verdict.from), since - Math.max(PAST_MS, end - since));
  return [Math.floor(start / WINDOW_MS) * WINDOW_MS, end];
}

function Compared({ verdict, incident, view, since: sinceText, measure }: Props & { measure: string }) {
  const catalogue = useCatalogue().data;
  const since = sinceText ? Date.parse(sinceText) : undefined;
  const [from, to] = shown(verdict, since);
  const step = stepFor((to - from) / 1000);
  const base: EdgeQuery = { from: instant(new Date(from)), to: instant(new Date(to)), group_by: [], measures: [measure], step_s: step };
  const filter = suspectFilter(verdict);
  const queries: EdgeQuery[] = filter
    ? [
        { ...base, filter },
        { ...base, filter: `NOT (${filter})` },
      ]
    : [base];
  const through = useEdges(queries[0]);
  const elsewhere = useEdges(queries[1]);
  const place = where(verdict);
  const table = through.data;
  const data: ChartData | undefined = table && {
    kind: 'lines',
    unit: unitOf(measure, catalogue),
    times: table.steps.map((s) => Date.parse(s)),
    stepS: step,
    from,
    to,
    series: [
      { name: filter ? `through ${place}` : 'all edges', values: values(table, measure), colour: filter ? 9 : 0 },
      ...(filter && elsewhere.data && elsewhere.data.steps.length === table.steps.length
        ? [{ name: 'elsewhere', values: values(elsewhere.data, measure), colour: 'grey' as const }]
        : []),
    ],
    marks: since ? [{ at: since, label: `since ${clock(new Date(since))}` }] : [],
    shades: since ? [{ from: since, to: incident?.closed_at ? Date.parse(incident.closed_at) : to }] : [],
  };
  return (
    <ChartCard
      title={chartOf(measure, catalogue)}
      subtitle={filter ? `Edges through ${place} against all others` : 'All edges'}
      data={data}
      queries={queries}
      height={172}
      sync="diagnose"
      error={through.error}
      // An incident's report is about its own time, whatever the page's range.
      onZoom={incident ? undefined : (a, b) => view.set({ from: instant(a), to: instant(b) })}
    />
  );
}

function values(table: EdgesAnswer, measure: string): (number | null)[] {
  const row = table.rows[0];
  return row ? series(table, row, measure) : table.steps.map(() => null);
}
