import { useElementSize, useMergedRef } from '@mantine/hooks';
import { type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useScheme } from '~/app/scheme';
import css from './Chart.module.css';
import { aligned, inkOf, options, position } from './plot';
import { fillTip, hideTip, placeTip, tipWords } from './tip';
import type { ChartData } from './types';

interface Props {
  data: ChartData;
  height: number;
  /** What the chart shows, for those who do not see it. */
  label: string;
  /** Charts with the same key move their cursors together. */
  sync?: string | undefined;
  /** Name of the series to lift out. */
  lit?: string | undefined;
  onLit?: ((name: string | undefined) => void) | undefined;
  /** A period was dragged over. */
  onZoom?: ((from: Date, to: Date) => void) | undefined;
}

/** A chart over time. Its values are read by mouse, by finger, and by the arrow keys as those of a slider. */
export function Chart({ data, height, label, sync, lit, onLit, onZoom }: Props) {
  const size = useElementSize<HTMLDivElement>();
  const { width } = size;
  const box = useRef<HTMLDivElement>(null);
  const ref = useMergedRef(box, size.ref);
  const { dark } = useScheme();
  const plot = useRef<uPlot | null>(null);
  const tip = useRef<HTMLDivElement>(null);
  const kept = useRef<Kept>({ data, onLit, onZoom, led: false });
  Object.assign(kept.current, { data, onLit, onZoom });
  const zooms = onZoom !== undefined;
  const shape = JSON.stringify([data.kind, data.unit, dark, zooms, data.series.map((s) => [s.name, s.colour, s.dash])]);
  const ready = width > 0;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot is made anew when its shape changes; values, size and light go in below.
  useLayoutEffect(() => {
    if (!box.current || !ready) return;
    const ink = inkOf(box.current, dark);
    const newest = () => kept.current.data;
    const hooks = cursorHooks(kept, tip, ink);
    const made = new uPlot(options(newest, ink, width, height, sync, zooms, hooks), aligned(newest()), box.current);
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = null;
    };
  }, [shape, ready, sync]);

  useLayoutEffect(() => {
    plot.current?.setData(aligned(data));
  }, [data]);

  useLayoutEffect(() => {
    if (width > 0) plot.current?.setSize({ width, height });
  }, [width, height]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a plot that was made anew must be lit again.
  useEffect(() => {
    const index = data.series.findIndex((s) => s.name === lit);
    plot.current?.setSeries(index < 0 ? null : position(data, index), { focus: true }, false);
  }, [lit, shape, data, ready]);

  const last = Math.max(0, data.times.length - 1);
  const [read, setRead] = useState<number>();
  const at = Math.min(read ?? last, last);
  const lead = (idx: number) => {
    setRead(idx);
    if (plot.current) led(kept.current, () => plot.current?.setCursor(placeOf(plot.current, idx)));
  };
  const onKey = (event: KeyboardEvent) => {
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    lead(Math.min(last, Math.max(0, read === undefined ? last : next)));
  };
  return (
    <div
      className={css.chart}
      role="slider"
      tabIndex={0}
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={last}
      aria-valuenow={at}
      aria-valuetext={tipWords(data, at)}
      onKeyDown={onKey}
      onBlur={() => {
        setRead(undefined);
        hideTip(tip.current);
      }}
    >
      <div ref={ref} className={css.plot} data-height={height} style={{ height }} />
      <div ref={tip} className={css.tip} hidden />
    </div>
  );
}

interface Kept extends Pick<Props, 'data' | 'onLit' | 'onZoom'> {
  /** The cursor is moved by key or finger, not by the mouse over it. */
  led: boolean;
}

function led(kept: Kept, move: () => void): void {
  kept.led = true;
  move();
  kept.led = false;
}

/** Where the cursor stands on a step. */
function placeOf(u: uPlot, idx: number): { left: number; top: number } {
  return { left: u.valToPos(u.data[0][idx] ?? 0, 'x'), top: 0 };
}

function cursorHooks(kept: React.RefObject<Kept>, tip: React.RefObject<HTMLDivElement | null>, ink: ReturnType<typeof inkOf>) {
  let near: string | undefined;
  const hooks: uPlot.Hooks.Arrays = {
    setCursor: [
      (u) => {
        const box = tip.current;
        const { idx, left = -1, top = -1 } = u.cursor;
        const own = !u.cursor.event || u.over.contains(u.cursor.event.target as Node);
        const seen = kept.current.led || (own && u.over.matches(':hover'));
        if (!box || idx === null || idx === undefined || left < 0 || !seen) {
          hideTip(box);
          return;
        }
        const at = nearest(u, kept.current.data, idx, top);
        fillTip(box, kept.current.data, idx, at, ink);
        placeTip(box, left + u.over.offsetLeft, u.height);
        if (at !== near) {
          near = at;
          kept.current.onLit?.(at);
        }
      },
    ],
    ready: [
      (u) => {
        u.over.addEventListener('mouseleave', () => {
          hideTip(tip.current);
          if (near !== undefined) kept.current.onLit?.(undefined);
          near = undefined;
        });
        // A finger that lies on the chart or goes along it reads; up and down it scrolls the page.
        const onTouch = (event: PointerEvent) => {
          if (event.pointerType === 'mouse') return;
          const { left, top } = u.over.getBoundingClientRect();
          led(kept.current, () => u.setCursor({ left: event.clientX - left, top: event.clientY - top }));
        };
        u.over.addEventListener('pointerdown', onTouch);
        u.over.addEventListener('pointermove', onTouch);
      },
    ],
    setSelect: [
      (u) => {
        const { left, width } = u.select;
        if (width < 6) return;
        const at = (px: number) => new Date(u.posToVal(px, 'x') * 1000);
        kept.current.onZoom?.(at(left), at(left + width));
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      },
    ],
  };
  return hooks;
}

/** The series whose line or layer lies nearest to the cursor, if it is near at all. */
function nearest(u: uPlot, data: ChartData, idx: number, top: number): string | undefined {
  let best: string | undefined;
  let distance = data.kind === 'lines' ? 24 : Number.POSITIVE_INFINITY;
  data.series.forEach((s, i) => {
    const value = u.data[position(data, i)]?.[idx];
    if (value === null || value === undefined || s.values[idx] === null) return;
    const y = u.valToPos(value, 'y');
    // A layer of columns reaches from its own top down to the next one's.
    const off = data.kind === 'lines' ? Math.abs(y - top) : top >= y ? top - y : Number.POSITIVE_INFINITY;
    if (off < distance && (data.kind === 'lines' || (s.values[idx] ?? 0) > 0)) {
      distance = off;
      best = s.name;
    }
  });
  return best;
}
