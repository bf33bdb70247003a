import { SegmentedControl } from '@mantine/core';
import { useMemo, useState } from 'react';
import { useEdges } from '~/api/queries';
import type { Unit } from '~/api/types';
import { ask, type View } from '~/app/view';
import { type EdgeItem, items } from '~/lib/edges';
import { all, equals } from '~/lib/filter';
import { HEALTH_MEASURES, LEVEL_WORD } from '~/lib/health';
import { exact, show } from '~/lib/units';
import { HealthMark } from '~/parts/marks';
import { Busy, Failure, Nothing } from '~/parts/states';
import css from './ZoneMatrix.module.css';

const CHOICES = [
  { value: 'tcp.retrans_rate', label: 'Loss', unit: 'ratio' },
  { value: 'tcp.rtt.p95', label: 'RTT', unit: 'seconds' },
  { value: 'tcp.connect_failure_rate', label: 'Connects', unit: 'ratio' },
  { value: 'tcp.bytes', label: 'Bytes', unit: 'bytes' },
] as const satisfies { value: string; label: string; unit: Unit }[];

/** More rows or columns are no picture any more. */
const ZONES_MAX = 14;

/** Who talks to whom: a full row or column is an end, one cell a path. */
export function ZoneMatrix({ view, onPick }: { view: View; onPick: (filter: string) => void }) {
  const [chosen, setChosen] = useState<(typeof CHOICES)[number]>(CHOICES[0]);
  const answer = useEdges(
    ask(view, {
      group: ['source.zone', 'dest.zone'],
      measures: ['tcp.bytes', ...HEALTH_MEASURES],
      filter: view.filter,
      sort: '-tcp.bytes',
      compare: true,
    }),
  );
  const cells = useMemo(() => new Map(items(answer.data, []).map((i) => [i.id, i])), [answer.data]);
  const zones = useMemo(
    () => [...new Set([...cells.values()].flatMap((c) => c.key))].sort((a, b) => Number(a === '') - Number(b === '') || a.localeCompare(b)),
    [cells],
  );
  if (answer.error) return <Failure error={answer.error} />;
  if (!answer.data) return <Busy />;
  if (zones.length === 0) return <Nothing height={72}>No edge in this range.</Nothing>;
  const shown = zones.slice(0, ZONES_MAX);
  const name = shortNames(shown);
  return (
    <div className={css.box}>
      <SegmentedControl
        size="xs"
        fullWidth
        aria-label="Value of the cells"
        data={CHOICES.map(({ value, label }) => ({ value, label }))}
        value={chosen.value}
        onChange={(v) => setChosen(CHOICES.find((c) => c.value === v) ?? CHOICES[0])}
      />
      <div className={css.scroll}>
        <table className={css.matrix}>
          <thead>
            <tr>
              <td className={css.corner} />
              {shown.map((z) => (
                <th key={z} scope="col" title={z || 'unknown zone'}>
                  <bdi>{name(z)}</bdi>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((from) => (
              <tr key={from}>
                <th scope="row" title={from || 'unknown zone'}>
                  <bdi>{name(from)}</bdi>
                </th>
                {shown.map((to) => (
                  <td key={to}>
                    <Cell
                      item={cells.get(`${from}\u0000${to}`)}
                      from={from}
                      to={to}
                      measure={chosen.value}
                      unit={chosen.unit}
                      onPick={() => onPick(all(view.filter, equals('source.zone', from), equals('dest.zone', to)) ?? '')}
                    />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {zones.length > shown.length && <p className={css.note}>and {zones.length - shown.length} more zones</p>}
    </div>
  );
}

function Cell({
  item,
  from,
  to,
  measure,
  unit,
  onPick,
}: {
  item: EdgeItem | undefined;
  from: string;
  to: string;
  measure: string;
  unit: Unit;
  onPick: () => void;
}) {
  if (!item) return <span className={css.none}>–</span>;
  const value = item.value(measure);
  const { level, why } = item.health;
  const words = `${from || 'n/a'} to ${to || 'n/a'}: ${show(unit, value)}, ${why || LEVEL_WORD[level]}`;
  return (
    <button
      type="button"
      className={css.cell}
      data-level={level}
      onClick={onPick}
      title={`${words} (${exact(unit, value)})`}
      aria-label={words}
    >
      {(level === 'bad' || level === 'warn') && <HealthMark level={level} size={12} />}
      {show(unit, value)}
    </button>
  );
}

/** Zone names without what they all begin with: `us-east-1a` as `1a`. */
function shortNames(zones: string[]): (zone: string) => string {
  const known = zones.filter((z) => z !== '');
  const first = known[0] ?? '';
  let common = 0;
  while (known.length > 1 && common < first.length && known.every((z) => z[common] === first[common])) common += 1;
  const cut = first.slice(0, common).lastIndexOf('-') + 1;
  return (zone) => (zone === '' ? 'n/a' : zone.slice(cut) || zone);
}
