import type { Unit } from '~/api/types';

/** One line or one layer of columns. */
export interface Series {
  name: string;
  values: (number | null)[];
  /** Index of its colour in the palette; `grey` for a sum of the rest. */
  colour: number | 'grey';
  dash?: boolean | undefined;
}

/** A shaded period: an incident. */
export interface Shade {
  /** Milliseconds since the epoch. */
  from: number;
  to: number;
}

/** A moment marked by a line from top to bottom. */
export interface Mark {
  at: number;
  label: string;
}

/** A level marked by a line from left to right: a threshold, a baseline. */
export interface Rule {
  value: number;
  label: string;
  kind: 'threshold' | 'baseline';
}

export interface ChartData {
  kind: 'lines' | 'columns';
  unit: Unit;
  /** Starts of the steps, milliseconds since the epoch. */
  times: number[];
  stepS: number;
  /** The whole range that is shown, milliseconds since the epoch. */
  from: number;
  to: number;
  series: Series[];
  shades?: Shade[] | undefined;
  marks?: Mark[] | undefined;
  rules?: Rule[] | undefined;
}
