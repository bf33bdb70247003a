/** Colours of series: twelve that stay apart for most colour-blind readers, in the same order for both themes. */

const LIGHT = [
  '#4c51d6',
  '#c2570c',
  '#0f7b6c',
  '#b0226f',
  '#6b7a12',
  '#2374ab',
  '#8a4fbf',
  '#9a6a1b',
  '#167d3b',
  '#c4384b',
  '#54607a',
  '#0b7a99',
];
const DARK = [
  '#8f95ff',
  '#f2994a',
  '#3ecbb4',
  '#f06cb0',
  '#b7c94a',
  '#62b3ed',
  '#c39bf0',
  '#dcb15c',
  '#58cc80',
  '#ff7f8d',
  '#a3b0c9',
  '#45cbea',
];

export const COLOURS = LIGHT.length;

export function colour(index: number, dark: boolean): string {
  return (dark ? DARK : LIGHT)[index % COLOURS] ?? '#888888';
}

/** Most series of a chart: with more, colours could no longer be told apart within it. */
export const SERIES_MAX = 10;

/**
 * Gives every name one colour over all charts, different from all others that stand in a chart with it. A name keeps the colour that it
 * had. Where no colour is left for a name, it takes the one that is rarest in its charts.
 */
export function allocate(taken: Map<string, number>, charts: string[][]): Map<string, number> {
  const names = [...new Set(charts.flat())];
  const given = new Map(names.filter((n) => taken.has(n)).map((n) => [n, taken.get(n) ?? 0]));
  for (const name of names) {
    const uses = Array.from({ length: COLOURS }, () => 0);
    for (const chart of charts) {
      if (!chart.includes(name)) continue;
      for (const other of chart) {
        const used = other === name ? undefined : given.get(other);
        if (used !== undefined) uses[used] = (uses[used] ?? 0) + 1;
      }
    }
    const own = given.get(name);
    if (own !== undefined && uses[own] === 0) continue;
    given.set(name, uses.indexOf(Math.min(...uses)));
  }
  return given;
}
