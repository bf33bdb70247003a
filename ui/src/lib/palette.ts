/** Colours of series: twelve that stay apart for most colour-blind readers, in the same order for both themes. */

const LIGHT = ['#4c51d6', '#c2570c', '#0f7b6c', '#b0226f', '#6b7a12', '#2374ab', '#8a4fbf', '#9a6a1b', '#167d3b', '#c4384b', '#54607a', '#0b7a99'];
const DARK = ['#8f95ff', '#f2994a', '#3ecbb4', '#f06cb0', '#b7c94a', '#62b3ed', '#c39bf0', '#dcb15c', '#58cc80', '#ff7f8d', '#a3b0c9', '#45cbea'];

export const COLOURS = LIGHT.length;

export function colour(index: number, dark: boolean): string {
  return (dark ? DARK : LIGHT)[index % COLOURS] ?? '#888888';
}

/** Gives every name a colour that stays its own while it is on the page. */
export function allocate(taken: Map<string, number>, names: string[]): Map<string, number> {
  const kept = new Map<string, number>();
  for (const name of names) {
    const old = taken.get(name);
    if (old !== undefined) kept.set(name, old);
  }
  const used = new Set(kept.values());
  let next = 0;
  for (const name of names) {
    if (kept.has(name)) continue;
    while (used.size < COLOURS && used.has(next % COLOURS)) next += 1;
    kept.set(name, next % COLOURS);
    used.add(next % COLOURS);
    next += 1;
  }
  return kept;
}
