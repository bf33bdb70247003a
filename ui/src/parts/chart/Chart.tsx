import { useElementSize, useMergedRef } from '@mantine/hooks';
import { useEffect, useLayoutEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useScheme } from '~/app/scheme';
import css from './Chart.module.css';
import { aligned, inkOf, options, position } from './plot';
import { fillTip, hideTip, placeTip } from './tip';
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

/** A chart over time. */
export function Chart({ data, height, label, sync, lit, onLit, onZoom }: Props) {
  const size = useElementSize<HTMLDivElement>();
  const { width } = size;
  const box = useRef<HTMLDivElement>(null);
  const ref = useMergedRef(box, size.ref);
  const { dark } = useScheme();
  const plot = useRef<uPlot | null>(null);
  const tip = useRef<HTMLDivElement>(null);
  const kept = useRef({ data, onLit, onZoom });
  kept.current = { data, onLit, onZoom };
  const shape = `${data.kind}|${data.unit}|${dark}|${data.series.map((s) => `${s.name}\u0000${s.colour}\u0000${s.dash ?? ''}`).join('\u0001')}`;
  const ready = width > 0;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot is made anew when its shape changes; values, size and light go in below.
  useLayoutEffect(() => {
    if (!box.current || !ready) return;
    const ink = inkOf(box.current, dark);
    const hooks = cursorHooks(kept, tip, ink);
    const made = new uPlot(options(view(kept), ink, width, height, sync, hooks), aligned(kept.current.data), box.current);
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

  return (
    <div className={css.chart} role="img" aria-label={label}>
      <div ref={ref} className={css.plot} data-height={height} style={{ height }} />
      <div ref={tip} className={css.tip} hidden />
    </div>
  );
}

type Kept = React.RefObject<Pick<Props, 'data' | 'onLit' | 'onZoom'>>;

/** The data as uPlot's callbacks should see it: always the newest. */
function view(kept: Kept): ChartData {
  return new Proxy({} as ChartData, { get: (_, name) => kept.current.data[name as keyof ChartData] });
}

function cursorHooks(kept: Kept, tip: React.RefObject<HTMLDivElement | null>, ink: ReturnType<typeof inkOf>): uPlot.Hooks.Arrays {
  let near: string | undefined;
  return {
    setCursor: [
      (u) => {
        const box = tip.current;
        const { idx, left = -1, top = -1 } = u.cursor;
        const own = !u.cursor.event || u.over.contains(u.cursor.event.target as Node);
        if (!box || idx === null || idx === undefined || left < 0 || !own || !u.over.matches(':hover')) {
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
