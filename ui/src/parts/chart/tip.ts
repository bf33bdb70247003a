/** The box beside the cursor. Filled by hand and not by React: it follows the mouse at every frame. Text nodes only. */
import { clock, utc } from '~/lib/time';
import { exact, show } from '~/lib/units';
import css from './Chart.module.css';
import type { Ink } from './plot';
import { seriesColour } from './plot';
import type { ChartData } from './types';

const ROWS_MAX = 8;

export function hideTip(box: HTMLElement | null): void {
  if (box) box.hidden = true;
}

/** Below the plot, about under the cursor: it hides nothing that is read. `x` is the cursor's place in the chart. */
export function placeTip(box: HTMLElement, x: number, height: number): void {
  box.hidden = false;
  const host = box.parentElement?.getBoundingClientRect();
  const wide = box.offsetWidth;
  // Within the window, though the chart may be narrower than the box.
  const least = 8 - (host?.left ?? 0);
  const most = innerWidth - 8 - wide - (host?.left ?? 0);
  const at = Math.min(most, Math.max(least, x - wide / 2));
  box.style.transform = `translate(${Math.round(at)}px, ${height + 2}px)`;
}

/** What is measured on a step, the greatest first. */
function rowsAt(data: ChartData, idx: number) {
  return data.series
    .map((s) => ({ s, value: s.values[idx] ?? null }))
    .filter((r) => r.value !== null && (data.kind === 'lines' || r.value > 0))
    .sort((a, b) => (b.value ?? 0) - (a.value ?? 0));
}

/** The box in words, for those who do not see it. */
export function tipWords(data: ChartData, idx: number): string {
  const rows = rowsAt(data, idx).slice(0, ROWS_MAX);
  const values = rows.map(({ s, value }) => `${s.name} ${show(data.unit, value)}`).join(', ');
  return `${clock(new Date(data.times[idx] ?? 0))}: ${values || (data.kind === 'columns' ? 'none' : 'no data')}`;
}

export function fillTip(box: HTMLElement, data: ChartData, idx: number, near: string | undefined, ink: Ink): void {
  const at = new Date(data.times[idx] ?? 0);
  const head = element('div', css.tipHead, clock(at));
  head.append(element('span', css.tipUtc, utc(at)));
  const rows = rowsAt(data, idx).sort((a, b) => Number(b.s.name === near) - Number(a.s.name === near));
  const list = rows.slice(0, ROWS_MAX).map(({ s, value }) => {
    const row = element('div', s.name === near ? `${css.tipRow} ${css.tipNear}` : css.tipRow, '');
    const swatch = element('span', css.swatch, '');
    swatch.style.background = seriesColour(s, ink);
    row.append(swatch, element('bdi', css.tipName, s.name), element('span', css.tipValue, show(data.unit, value)));
    return row;
  });
  const more: HTMLElement[] = [];
  if (rows.length > ROWS_MAX) more.push(element('div', css.tipMore, `and ${rows.length - ROWS_MAX} more`));
  if (rows.length === 0) more.push(element('div', css.tipMore, data.kind === 'columns' ? 'none' : 'no data'));
  const lit = rows.find((r) => r.s.name === near) ?? (rows.length === 1 ? rows[0] : undefined);
  if (lit) more.push(element('div', css.tipMore, `exactly ${exact(data.unit, lit.value)}`));
  box.replaceChildren(head, ...list, ...more);
}

function element(tag: string, name: string | undefined, text: string): HTMLElement {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}
