/** From the chart's data to uPlot's options: the only place that knows uPlot. */
import uPlot from 'uplot';
import { colour } from '~/lib/palette';
import { two } from '~/lib/time';
import { show } from '~/lib/units';
import type { ChartData, Series } from './types';

/** Colours of the page that a canvas cannot take from the style sheet by itself. */
export interface Ink {
  text: string;
  grid: string;
  grey: string;
  incident: string;
  bad: string;
  dark: boolean;
}

export function inkOf(element: Element, dark: boolean): Ink {
  const style = getComputedStyle(element);
  const read = (name: string) => style.getPropertyValue(name).trim() || '#888888';
  return {
    text: read('--text-3'),
    grid: read('--grid'),
    grey: read('--series-rest'),
    incident: read('--incident'),
    bad: read('--bad'),
    dark,
  };
}

export const seriesColour = (s: Series, ink: Ink) => (s.colour === 'grey' ? ink.grey : colour(s.colour, ink.dark));

const FONT = '11px "Inter Variable", system-ui, sans-serif';
/** Seconds between times on the axis. */
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];
const BYTE_STEPS = Array.from({ length: 52 }, (_, i) => 2 ** i);

/** Values as uPlot wants them. Columns are stacked by us: the topmost layer is drawn first, each next one over it. */
export function aligned(data: ChartData): uPlot.AlignedData {
  const times = data.times.map((t) => t / 1000);
  if (data.kind === 'lines') return [times, ...data.series.map((s) => s.values)];
  const sums = times.map(() => 0);
  const layers = data.series.map((s) =>
    s.values.map((v, i) => {
      if (v === null) return null;
      sums[i] = (sums[i] ?? 0) + v;
      return sums[i] ?? null;
    }),
  );
  return [times, ...layers.reverse()];
}

/** Position in `aligned` of a series of the data. */
export const position = (data: ChartData, index: number) => (data.kind === 'lines' ? index + 1 : data.series.length - index);

/** @param newest what the chart shows now: values and marks change while the plot stays, its series and unit do not */
export function options(
  newest: () => ChartData,
  ink: Ink,
  width: number,
  height: number,
  sync: string | undefined,
  zooms: boolean,
  hooks: uPlot.Hooks.Arrays,
): uPlot.Options {
  const data = newest();
  const drawn = data.kind === 'lines' ? data.series : [...data.series].reverse();
  const columns = uPlot.paths.bars?.({ size: [0.78, 24], align: 1, radius: 0.05 });
  const axis = { stroke: ink.text, font: FONT, grid: { stroke: ink.grid, width: 1 }, ticks: { show: false } };
  return {
    width,
    height,
    pxAlign: 1,
    padding: [8, 19, 0, 0],
    legend: { show: false },
    cursor: {
      y: false,
      points: { show: data.kind === 'lines', size: 6 },
      drag: { x: zooms, y: false, setScale: false },
      ...(sync ? { sync: { key: sync, setSeries: false } } : {}),
    },
    focus: { alpha: 0.22 },
    scales: {
      x: { time: true, range: () => [newest().from / 1000, newest().to / 1000] },
      y: { range: (_u, _min, max) => [0, Math.max(Number.isFinite(max) ? max : 0, highest(newest()), least(data.unit)) * 1.08] },
    },
    axes: [
      {
        ...axis,
        size: (_u, ticks) => (ticks?.some((t) => t.includes('\n')) ? 40 : 26),
        gap: 4,
        space: 58,
        incrs: TIME_STEPS,
        values: (_u, ticks) => tickTimes(ticks),
      },
      {
        ...axis,
        size: 62,
        gap: 6,
        space: 26,
        ...(data.unit === 'bytes' ? { incrs: BYTE_STEPS } : {}),
        values: (_u, ticks) => ticks.map((v) => show(data.unit, v)),
      },
    ],
    series: [
      {},
      ...drawn.map((s): uPlot.Series => {
        const stroke = seriesColour(s, ink);
        if (data.kind === 'columns' && columns)
          return { label: s.name, stroke, fill: stroke, width: 0, paths: columns, points: { show: false } };
        return {
          label: s.name,
          stroke,
          width: 1.5,
          ...(s.dash ? { dash: [4, 4] } : {}),
          points: { show: lonely(s.values), size: 4, fill: stroke },
          spanGaps: false,
        };
      }),
    ],
    hooks: { drawClear: [(u) => under(u, newest(), ink)], draw: [(u) => over(u, newest(), ink)], ...hooks },
  };
}

/** The topmost of the levels that are marked. */
const highest = (data: ChartData) => Math.max(0, ...(data.rules ?? []).map((r) => r.value));

/** The least height of a scale, so that nothing but zeros does not look like a mountain. */
function least(unit: ChartData['unit']): number {
  switch (unit) {
    case 'bytes':
      return 1024;
    case 'seconds':
      return 0.0005;
    case 'ratio':
      return 0.01;
    default:
      return 4;
  }
}

/** A point without neighbours has no line: show it as a dot. */
function lonely(values: (number | null)[]): boolean {
  return values.filter((v) => v !== null).length < 2;
}

function tickTimes(ticks: number[]): string[] {
  const fine = ticks.length > 1 && (ticks[1] ?? 0) - (ticks[0] ?? 0) < 60;
  const days = ticks.length > 1 && (ticks[1] ?? 0) - (ticks[0] ?? 0) >= 86_400;
  let shown = '';
  return ticks.map((t) => {
    const at = new Date(t * 1000);
    const date = at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
    if (days) return date;
    const time = `${two(at.getHours())}:${two(at.getMinutes())}${fine ? `:${two(at.getSeconds())}` : ''}`;
    const first = shown !== '' && shown !== date;
    shown = date;
    return first ? `${time}\n${date}` : time;
  });
}

function under(u: uPlot, data: ChartData, ink: Ink): void {
  const { ctx, bbox } = u;
  ctx.save();
  for (const shade of data.shades ?? []) {
    const left = Math.max(u.valToPos(shade.from / 1000, 'x', true), bbox.left);
    const right = Math.min(u.valToPos(shade.to / 1000, 'x', true), bbox.left + bbox.width);
    if (right <= left) continue;
    ctx.fillStyle = ink.incident;
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

function over(u: uPlot, data: ChartData, ink: Ink): void {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.font = `500 ${11 * ratio}px "Inter Variable", system-ui, sans-serif`;
  ctx.lineWidth = ratio;
  for (const mark of data.marks ?? []) {
    const x = Math.round(u.valToPos(mark.at / 1000, 'x', true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    line(ctx, ink.bad, [], x, bbox.top, x, bbox.top + bbox.height);
    const wide = ctx.measureText(mark.label).width;
    const leftwards = x + wide + 8 * ratio > bbox.left + bbox.width;
    ctx.fillStyle = ink.bad;
    ctx.textAlign = leftwards ? 'right' : 'left';
    ctx.textBaseline = 'top';
    ctx.fillText(mark.label, x + (leftwards ? -5 : 5) * ratio, bbox.top + 3 * ratio);
  }
  for (const rule of data.rules ?? []) {
    const y = Math.round(u.valToPos(rule.value, 'y', true));
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    const stroke = rule.kind === 'threshold' ? ink.bad : ink.text;
    line(ctx, stroke, rule.kind === 'threshold' ? [5 * ratio, 3 * ratio] : [2 * ratio, 3 * ratio], bbox.left, y, bbox.left + bbox.width, y);
    ctx.fillStyle = stroke;
    ctx.textAlign = 'left';
    ctx.textBaseline = y - bbox.top < 16 * ratio ? 'top' : 'bottom';
    ctx.fillText(rule.label, bbox.left + 4 * ratio, y + (ctx.textBaseline === 'top' ? 3 : -3) * ratio);
  }
  ctx.restore();
}

function line(ctx: CanvasRenderingContext2D, stroke: string, dash: number[], x1: number, y1: number, x2: number, y2: number): void {
  ctx.strokeStyle = stroke;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}
