import { SegmentedControl } from '@mantine/core';
import { useMemo } from 'react';
import type { Unit } from '~/api/types';
import type { Cells } from '~/app/search';
import type { View } from '~/app/view';
import { type EdgeItem, idOf } from '~/lib/edges';
import { all, equals } from '~/lib/filter';
import { LEVEL_WORD } from '~/lib/health';
import { exact, show } from '~/lib/units';
import { useGroups } from '~/parts/groups';
import { HealthMark } from '~/parts/marks';
import { Busy, Failure, Nothing } from '~/parts/states';
import css from './ZoneMatrix.module.css';

const CHOICES: Record<Cells, { measure: string; label: string; unit: Unit }> = {
  loss: { measure: 'tcp.retrans_rate', label: 'Loss', unit: 'ratio' },
  rtt: { measure: 'tcp.rtt.p95', label: 'RTT', unit: 'seconds' },
  connects: { measure: 'tcp.connect_failure_rate', label: 'Connects', unit: 'ratio' },
  bytes: { measure: 'tcp.bytes', label: 'Bytes', unit: 'bytes' },
};

const PAIR = ['source.zone', 'dest.zone'];

interface Props {
  view: View;
  cells: Cells;
  onCells: (cells: Cells) => void;
  onPick: (filter: string) => void;
}

/** More rows or columns are no picture any more. */
const ZONES_MAX = 14;

/** Who talks to whom: a full row or column is an end, one cell a path. */
export function ZoneMatrix({ view, cells: shownAs, onCells, onPick }: Props) {
  const { measure, unit } = CHOICES[shownAs];
  const { table, items, error } = useGroups(view, PAIR, undefined);
  const cells = useMemo(() => new Map(items.map((i) => [i.id, i])), [items]);
  const zones = useMemo(
    () => [...new Set([...cells.values()].flatMap((c) => c.key))].sort((a, b) => Number(a === '') - Number(b === '') || a.localeCompare(b)),
    [cells],
  );
  if (error) return <Failure error={error} />;
  if (!table) return <Busy />;
  if (zones.length === 0) return <Nothing height={72}>No edge in this range.</Nothing>;
  const shown = zones.slice(0, ZONES_MAX);
  const name = shortNames(shown);
  return (
    <div className={css.box}>
      <SegmentedControl
        size="xs"
        fullWidth
        aria-label="Value of the cells"
        data={Object.entries(CHOICES).map(([value, { label }]) => ({ value, label }))}
        value={shownAs}
        onChange={(v) => onCells(v as Cells)}
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
                      item={cells.get(idOf([from, to]))}
                      from={from}
                      to={to}
                      measure={measure}
                      unit={unit}
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
