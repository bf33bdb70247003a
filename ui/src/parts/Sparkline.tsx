import { memo } from 'react';
import css from './Sparkline.module.css';

interface Props {
  values: (number | null)[];
  width?: number;
  height?: number;
  /** What it shows, for those who do not see it. Without it the line is ornament beside a number. */
  label?: string;
  tone?: 'plain' | 'bad' | 'warn' | 'accent';
  /** Share of the width (0..1) from which on an incident lasts. */
  shade?: { from: number; to: number } | undefined;
}

/** A small line with gaps where nothing was measured; the baseline is zero. */
export const Sparkline = memo(function Sparkline({ values, width = 96, height = 22, label, tone = 'plain', shade }: Props) {
  const { line, area } = paths(values, width, height);
  return (
    <svg
      className={css.spark}
      data-tone={tone}
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      preserveAspectRatio="none"
      {...(label ? { role: 'img', 'aria-label': label } : { 'aria-hidden': true })}
    >
      {shade && (
        <rect className={css.shade} x={shade.from * width} y={0} width={Math.max(0, shade.to - shade.from) * width} height={height} />
      )}
      <path className={css.area} d={area} />
      <path className={css.line} d={line} />
    </svg>
  );
});

function paths(values: (number | null)[], width: number, height: number): { line: string; area: string } {
  let top = 0;
  for (const v of values) if (v !== null && v > top) top = v;
  const x = (i: number) => (values.length < 2 ? width / 2 : (i / (values.length - 1)) * width);
  const y = (v: number) => (top === 0 ? height - 1.5 : height - 1.5 - (v / top) * (height - 4));
  let line = '';
  let area = '';
  let start: number | undefined;
  for (let i = 0; i <= values.length; i += 1) {
    const v = values[i];
    if (v === null || v === undefined) {
      if (start !== undefined) area += `L${x(i - 1).toFixed(1)} ${height}Z`;
      start = undefined;
      continue;
    }
    const point = `${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
    if (start === undefined) {
      start = i;
      line += `M${point}`;
      area += `M${x(i).toFixed(1)} ${height}L${point}`;
    } else {
      line += `L${point}`;
      area += `L${point}`;
    }
  }
  return { line, area };
}
