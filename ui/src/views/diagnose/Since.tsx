import { useCatalogue, useEdges } from '~/api/queries';
import type { EdgeQuery, EdgesAnswer, Incident, Verdict } from '~/api/types';
import type { View } from '~/app/view';
import { series } from '~/lib/edges';
import { clock, instant, stepFor } from '~/lib/time';
import { unitOf } from '~/lib/units';
import { borderFilter, culpritWords, measureOf } from '~/lib/words';
import { ChartCard } from '~/parts/ChartCard';
import type { ChartData } from '~/parts/chart/types';
import css from './Diagnose.module.css';

const WINDOW_MS = 10_000;

interface Props {
  verdict: Verdict;
  incident: Incident | undefined;
  view: View;
}

/** Since when: the culprit's edges against all others, with the moment it began; and what it did to their traffic. */
export function Since({ verdict, incident, view }: Props) {
  const filter = borderFilter(verdict.culprit);
  const measure = measureOf(verdict.class);
  return (
    <div className={css.two}>
      <Compared
        verdict={verdict}
        incident={incident}
        view={view}
        measure={measure === 'tcp.bytes' ? 'tcp.rtt.p95' : measure}
        filter={filter}
      />
      <Compared verdict={verdict} incident={incident} view={view} measure="tcp.bytes" filter={filter} />
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

const TITLES: Record<string, string> = {
  'tcp.rtt.p95': 'Round trip time, p95',
  'tcp.connect_timeouts': '# TCP connection timeouts',
  'tcp.connects_refused': '# Connects refused',
  'tcp.rwnd_share': 'Time blocked by the receiver',
  'tcp.retrans_rate': 'Retransmission rate',
  'tcp.bytes': 'TCP traffic (bytes)',
};

function Compared({ verdict, incident, view, measure, filter }: Props & { measure: string; filter: string | undefined }) {
  const catalogue = useCatalogue().data;
  const since = verdict.since ? Date.parse(verdict.since) : undefined;
  const [from, to] = shown(verdict, since);
  const step = stepFor((to - from) / 1000);
  const base: EdgeQuery = { from: instant(new Date(from)), to: instant(new Date(to)), group_by: [], measures: [measure], step_s: step };
  const through = useEdges(filter ? { ...base, filter } : base);
  const elsewhere = useEdges(filter ? { ...base, filter: `NOT (${filter})` } : undefined);
  const where = culpritWords(verdict.culprit);
  const table = through.data;
  const data: ChartData | undefined = table && {
    kind: 'lines',
    unit: unitOf(measure, catalogue),
    times: table.steps.map((s) => Date.parse(s)),
    stepS: step,
    from,
    to,
    series: [
      { name: filter ? `through ${where}` : 'all edges', values: values(table, measure), colour: filter ? 9 : 0 },
      ...(filter && elsewhere.data && elsewhere.data.steps.length === table.steps.length
        ? [{ name: 'elsewhere', values: values(elsewhere.data, measure), colour: 'grey' as const }]
        : []),
    ],
    marks: since ? [{ at: since, label: `since ${clock(new Date(since))}` }] : [],
    shades: since ? [{ from: since, to: incident?.closed_at ? Date.parse(incident.closed_at) : to }] : [],
  };
  return (
    <ChartCard
      title={TITLES[measure] ?? measure}
      subtitle={filter ? `Edges through ${where} against all others` : 'All edges'}
      data={data}
      query={filter ? { ...base, filter } : base}
      height={172}
      sync="diagnose"
      error={through.error}
      onZoom={(a, b) => view.set({ from: instant(a), to: instant(b) })}
    />
  );
}

function values(table: EdgesAnswer, measure: string): (number | null)[] {
  const row = table.rows[0];
  return row ? series(table, row, measure) : table.steps.map(() => null);
}
