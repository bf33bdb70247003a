import { IconArrowNarrowDown, IconArrowNarrowUp } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { type CSSProperties, memo, type ReactNode, useLayoutEffect, useRef, useState } from 'react';
import { carry } from '~/app/search';
import { directed, type EdgeItem, nameOf } from '~/lib/edges';
import { all, keysFilter } from '~/lib/filter';
import type { Level } from '~/lib/health';
import { isUnnamed } from '~/lib/names';
import { EndWhy } from '../EndWhy';
import { Delta, HealthMark, Name, Value } from '../marks';
import { Sparkline } from '../Sparkline';
import { MEASURE_COLUMNS, nextSort, useSorted } from './columns';
import css from './Grid.module.css';
import type { Sight, Sparks } from './sparks';

interface Props {
  label: string;
  groupBy: string[];
  items: EdgeItem[];
  sort: string | undefined;
  onSort: (sort: string) => void;
  sparks?: Sparks | undefined;
  onSight?: ((sight: Sight, rows: EdgeItem[]) => void) | undefined;
  lit?: string | undefined;
  onLit?: ((item: EdgeItem | undefined) => void) | undefined;
  /** What a press on a group's name does where there is no page for it. */
  onPick?: ((item: EdgeItem) => void) | undefined;
  /** Say why an edge is bad under its name. */
  reasons?: boolean | undefined;
  shade?: { from: number; to: number } | undefined;
  /** What the rows have passed, beside their own names. */
  filter?: string | undefined;
  /** Only as many rows. */
  most?: number | undefined;
}

const ROW_PX = 42;

/** The table of edges: sorted by any column, only the rows in sight are on the page. */
export function Grid(props: Props) {
  const { groupBy, items, sort, onSort, onSight, most } = props;
  const { rows: sorted, sorting } = useSorted(groupBy, items, sort);
  const rows = most ? sorted.slice(0, most) : sorted;
  const box = useRef<HTMLDivElement>(null);
  const [margin, setMargin] = useState(0);
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => ROW_PX,
    overscan: 8,
    scrollMargin: margin,
    getItemKey: (i) => rows[i]?.id ?? i,
  });
  const shown = virtual.getVirtualItems();
  const first = shown[0]?.index ?? 0;
  const last = shown.at(-1)?.index ?? 0;

  useLayoutEffect(() => {
    const top = box.current ? Math.round(box.current.getBoundingClientRect().top + scrollY) : 0;
    if (Math.abs(top - margin) > 1) setMargin(top);
  });
  useLayoutEffect(() => onSight?.({ first, last }, rows), [onSight, first, last, rows]);

  const now = sorting[0];
  const style = { '--dims': groupBy.length, '--measures': MEASURE_COLUMNS.length } as CSSProperties;
  return (
    <div className={css.scroll}>
      <div
        className={css.grid}
        style={style}
        role="table"
        aria-label={props.label}
        aria-rowcount={rows.length + 1}
        data-sparks={props.sparks !== undefined}
      >
        <div className={css.head} role="row" aria-rowindex={1}>
          {[
            { id: 'health', label: '' },
            ...groupBy.map((d) => ({ id: d, label: dimLabel(d) })),
            ...MEASURE_COLUMNS.map((c) => ({ id: c.measure, label: c.label })),
          ].map(({ id, label }) => (
            <div
              key={id}
              role="columnheader"
              className={css.th}
              data-number={id.startsWith('tcp.')}
              aria-sort={now?.id === id ? (now.desc ? 'descending' : 'ascending') : 'none'}
            >
              <button type="button" onClick={() => onSort(nextSort(sorting, id))} aria-label={label || 'Health'}>
                <span>{label}</span>
                {now?.id === id &&
                  (now.desc ? <IconArrowNarrowDown size={13} aria-hidden="true" /> : <IconArrowNarrowUp size={13} aria-hidden="true" />)}
              </button>
            </div>
          ))}
        </div>
        <div ref={box} className={css.body} style={{ height: virtual.getTotalSize() }} role="rowgroup">
          {shown.map((v) => {
            const item = rows[v.index];
            return item ? (
              <Row
                key={item.id}
                groupBy={groupBy}
                item={item}
                index={v.index}
                top={v.start - margin}
                measure={virtual.measureElement}
                lit={props.lit !== undefined && props.lit === nameOf(groupBy, item.key)}
                sparks={props.sparks}
                onLit={props.onLit}
                onPick={props.onPick}
                reasons={props.reasons}
                shade={props.shade}
                filter={props.filter}
              />
            ) : null;
          })}
        </div>
      </div>
    </div>
  );
}

/** `source.workload` as `Source workload`. */
export function dimLabel(dim: string): string {
  const [end, field] = dim.split('.');
  const words = field ? `${end === 'dest' ? 'destination' : end} ${field}` : dim === 'az_equal' ? 'same zone' : dim;
  return words.charAt(0).toUpperCase() + words.slice(1).replaceAll('_', ' ');
}

interface RowProps extends Pick<Props, 'groupBy' | 'sparks' | 'onLit' | 'onPick' | 'reasons' | 'shade' | 'filter'> {
  item: EdgeItem;
  index: number;
  top: number;
  lit: boolean;
  measure: (node: Element | null) => void;
}

/** One group. Only the row that the mouse enters and the one that it leaves are drawn anew. */
const Row = memo(function Row(props: RowProps) {
  const { item, groupBy, lit, onLit, sparks, reasons, shade } = props;
  const why = reasons && (item.health.level === 'bad' || item.health.level === 'warn') ? item.health.why : '';
  return (
    <div
      ref={props.measure}
      role="row"
      aria-rowindex={props.index + 2}
      data-index={props.index}
      className={css.row}
      data-level={item.health.level}
      data-lit={lit}
      data-why={why !== ''}
      style={{ transform: `translateY(${props.top}px)` }}
      onMouseEnter={() => onLit?.(item)}
      onMouseLeave={() => onLit?.(undefined)}
    >
      <div role="cell" className={css.mark}>
        <HealthMark level={item.health.level} why={item.health.why} />
      </div>
      {item.key.map((value, i) => (
        <div key={groupBy[i]} role="cell" className={css.dim} data-arrow={i === 1 && directed(groupBy)}>
          <div className={css.name}>
            {i === 0 ? <Pick {...props}>{<Name text={value} strong />}</Pick> : <Name text={value} strong={directed(groupBy)} />}
            <Unnamed dim={groupBy[i] ?? ''} value={value} filter={all(props.filter, keysFilter(groupBy, [item.key]))} />
          </div>
          {i === item.key.length - 1 && why && (
            <bdi className={css.why} title={why}>
              {why}
            </bdi>
          )}
        </div>
      ))}
      {MEASURE_COLUMNS.map((c) => {
        const values = sparks?.(item.id, c.measure);
        return (
          <div key={c.measure} role="cell" className={css.number} data-label={c.label}>
            {sparks && (
              <span className={css.spark}>
                {values?.some((v) => v !== null) && <Sparkline values={values} shade={shade} tone={toneOf(item.health.of[c.measure])} />}
              </span>
            )}
            <span className={css.value}>
              <Value unit={c.unit} value={item.value(c.measure)} />
              <Delta unit={c.unit} value={item.value(c.measure)} before={item.before(c.measure)} worse={c.worse} />
            </span>
          </div>
        );
      })}
    </div>
  );
});

/** Beside an end that has no name: why not. */
function Unnamed({ dim, value, filter }: { dim: string; value: string; filter: string | undefined }) {
  const [end, field] = dim.split('.');
  if (!field || (end !== 'source' && end !== 'dest') || !isUnnamed(value)) return null;
  return <EndWhy end={end} name={value} filter={filter} />;
}

/** A line is coloured by its own value, not by what else is wrong with the edge. */
const toneOf = (level: Level | undefined) => (level === 'bad' || level === 'warn' ? level : 'plain');

/** The group's name as the way to its page, or to a filter on it. */
function Pick({
  groupBy,
  item,
  onPick,
  children,
}: {
  groupBy: string[];
  item: EdgeItem;
  onPick?: ((item: EdgeItem) => void) | undefined;
  children: ReactNode;
}) {
  const [source, dest] = item.key;
  if (groupBy[0] === 'source.workload' && groupBy[1] === 'dest.workload' && source && dest) {
    return (
      <Link
        className={css.pick}
        to="/edges/$source/$dest"
        params={{ source, dest }}
        search={carry}
        aria-label={`Edge ${source} to ${dest}`}
      >
        {children}
      </Link>
    );
  }
  if (!onPick) return children;
  return (
    <button type="button" className={css.pick} onClick={() => onPick(item)} aria-label={`Filter on ${nameOf(groupBy, item.key)}`}>
      {children}
    </button>
  );
}
