import { useMemo, useRef } from 'react';
import { useEdges } from '~/api/queries';
import type { EdgeQuery, EdgesAnswer, Unit } from '~/api/types';
import { ask, type View } from '~/app/view';
import { idOf, nameOf, rest, series } from '~/lib/edges';
import { allocate, SERIES_MAX } from '~/lib/palette';
import { instant } from '~/lib/time';
import { grouped } from '~/lib/units';
import { ChartCard } from '~/parts/ChartCard';
import type { ChartData, Series, Shade } from '~/parts/chart/types';
import type { Sparks } from '~/parts/grid/sparks';
import css from './Edges.module.css';

interface Plan {
  title: string;
  measure: string;
  kind: ChartData['kind'];
  unit: Unit;
}

/** The four that show a network incident at a glance. */
const PLANS: Plan[] = [
  { title: 'TCP traffic (bytes)', measure: 'tcp.bytes', kind: 'lines', unit: 'bytes' },
  { title: 'Max round trip time', measure: 'tcp.rtt_max', kind: 'lines', unit: 'seconds' },
  { title: '# TCP connection timeouts', measure: 'tcp.connect_timeouts', kind: 'columns', unit: 'count' },
  { title: '# Retransmissions', measure: 'tcp.retrans', kind: 'columns', unit: 'count' },
];

interface Props {
  view: View;
  groupBy: string[];
  filter: string | undefined;
  shades: Shade[];
  /** The edge under the mouse in the table: lifted out, or added where it is not among the drawn. */
  lit: { id: string; name: string } | undefined;
  onLit: (name: string | undefined) => void;
  sparks: Sparks;
}

export function IncidentCharts({ view, groupBy, filter, shades, lit, onLit, sparks }: Props) {
  const queries = PLANS.map((p) =>
    ask(view, { group: groupBy, measures: [p.measure], filter, step: view.step, sort: `-${p.measure}`, limit: SERIES_MAX }),
  );
  const answers = [useEdges(queries[0]), useEdges(queries[1]), useEdges(queries[2]), useEdges(queries[3])];
  const totals = useEdges(
    ask(view, { group: [], measures: PLANS.filter((p) => p.kind === 'columns').map((p) => p.measure), filter, step: view.step }),
  );
  const colours = useColours(
    groupBy,
    answers.map((a) => a.data),
  );
  return (
    <div className={css.charts}>
      {PLANS.map((plan, i) => (
        <OneChart
          key={plan.measure}
          plan={plan}
          query={queries[i] as EdgeQuery}
          answer={answers[i] as ReturnType<typeof useEdges>}
          totals={totals.data}
          colours={colours}
          view={view}
          groupBy={groupBy}
          shades={shades}
          lit={lit}
          onLit={onLit}
          sparks={sparks}
        />
      ))}
    </div>
  );
}

interface OneProps extends Omit<Props, 'filter'> {
  plan: Plan;
  query: EdgeQuery;
  answer: ReturnType<typeof useEdges>;
  totals: EdgesAnswer | undefined;
  colours: Map<string, number>;
}

/** One of the four. The mouse's way over the table changes what is lit, not what is drawn, unless the edge is not drawn yet. */
function OneChart({ plan, query, answer, totals, colours, view, groupBy, shades, lit, onLit, sparks }: OneProps) {
  const table = answer.data;
  const drawn = useMemo(() => new Set(table?.rows.map((r) => idOf(r.key))), [table]);
  const added = plan.kind === 'lines' && lit?.id && !drawn.has(lit.id) ? lit : undefined;
  const overlay = added && sparks(added.id, plan.measure);
  const name = overlay && added?.name;
  const data = useMemo(
    () =>
      table &&
      chartOf({ plan, table, totals, view, groupBy, shades, colours, overlay: overlay && name ? { name, values: overlay } : undefined }),
    [plan, table, totals, view, groupBy, shades, colours, overlay, name],
  );
  const still = quiet(plan, data);
  return (
    <ChartCard
      title={plan.title}
      subtitle={still ? 'None in this range' : subtitle(groupBy, table)}
      data={data}
      queries={[query]}
      sync="edges"
      height={140}
      legend={still ? 0 : 3}
      lit={lit?.name}
      onLit={onLit}
      onZoom={(from, to) => view.set({ from: instant(from), to: instant(to) })}
      error={answer.error}
      loading={answer.isPlaceholderData}
    />
  );
}

/** One colour for an edge in all charts, for as long as it is drawn. */
function useColours(groupBy: string[], tables: (EdgesAnswer | undefined)[]): Map<string, number> {
  const kept = useRef(new Map<string, number>());
  const charts = tables.map((t) => (t ? t.rows.map((r) => nameOf(groupBy, r.key)) : []));
  // biome-ignore lint/correctness/useExhaustiveDependencies: the names, written out, are the key.
  return useMemo(() => {
    kept.current = allocate(kept.current, charts);
    return kept.current;
  }, [JSON.stringify(charts)]);
}

function subtitle(groupBy: string[], table: EdgesAnswer | undefined): string {
  const by = groupBy.map((d) => d.replace('dest.', 'destination ').replace('source.', 'source ').replace(' workload', '')).join(' and ');
  if (!table || table.groups_total <= table.rows.length) return `By ${by}`;
  return `By ${by}, top ${table.rows.length} of ${grouped(table.groups_total)}`;
}

/** Columns without any height. */
function quiet(plan: Plan, data: ChartData | undefined): boolean {
  return plan.kind === 'columns' && data !== undefined && data.series.length > 0 && data.series.every((s) => s.values.every((v) => !v));
}

interface Parts {
  plan: Plan;
  table: EdgesAnswer;
  totals: EdgesAnswer | undefined;
  view: View;
  groupBy: string[];
  shades: Shade[];
  colours: Map<string, number>;
  /** The lit edge where it is not among the highest. */
  overlay: { name: string; values: (number | null)[] } | undefined;
}

function chartOf({ plan, table, totals, view, groupBy, shades, colours, overlay }: Parts): ChartData {
  const some = (values: (number | null)[]) => values.some((v) => v !== null && (plan.kind === 'lines' || v > 0));
  const drawn = table.rows
    .map((row) => ({ id: idOf(row.key), name: nameOf(groupBy, row.key), values: series(table, row, plan.measure) }))
    .filter((s, i) => some(s.values) || (i === 0 && s.values.some((v) => v !== null)));
  const list: Series[] = drawn.map((s) => ({ name: s.name, values: s.values, colour: colours.get(s.name) ?? 'grey' }));
  if (plan.kind === 'columns' && totals && table.groups_total > table.rows.length && totals.steps.length === table.steps.length) {
    const row = totals.rows[0];
    const others = row
      ? rest(
          series(totals, row, plan.measure),
          drawn.map((s) => s.values),
        )
      : [];
    if (others.some((v) => v)) list.push({ name: 'other edges', values: others, colour: 'grey' });
  }
  if (overlay && overlay.values.length === table.steps.length) list.push({ ...overlay, colour: 'grey', dash: true });
  return {
    kind: plan.kind,
    unit: plan.unit,
    times: table.steps.map((s) => Date.parse(s)),
    stepS: table.step_s ?? view.step,
    from: view.range.from.getTime(),
    to: view.range.to.getTime(),
    series: list,
    shades,
  };
}
