import { expect, it } from 'vitest';
import type { EdgesAnswer } from '~/api/types';
import { byHealth, directed, items, nameOf, rest, series } from './edges';
import { allocate, COLOURS } from './palette';

const table: EdgesAnswer = {
  from: '',
  to: '',
  step_s: 10,
  steps: ['a', 'b'],
  group_by: ['source.workload', 'dest.workload'],
  measures: ['tcp.bytes', 'tcp.retrans_rate', 'tcp.segments.sent'],
  rows: [
    {
      key: ['x', 'y'],
      totals: [10, 0, 1000],
      series: [
        [4, 6],
        [0, null],
        [1, 2],
      ],
    },
    { key: ['x', ''], totals: [99, 0.2, 1000], compare: [50, 0.001, 1000] },
  ],
  groups_total: 2,
  resolution_s: 10,
  coverage: { fraction: 1, agents_reporting: 1, agents_expected: 1, silent: {}, losses: {} },
  own_hidden: true,
};

it('rows are read by name', () => {
  const [good, bad] = items(table, []);
  expect(good?.value('tcp.bytes')).toBe(10);
  expect(good?.value('tcp.rtt.p95')).toBeUndefined();
  expect(bad?.before('tcp.bytes')).toBe(50);
  expect([good, bad].map((i) => i?.health.level)).toEqual(['ok', 'bad']);
  expect(items(table, []).sort(byHealth)[0]?.key).toEqual(['x', '']);
  expect(items(undefined, [])).toEqual([]);
});

it('unknown ends have a name of their own', () => {
  expect(nameOf(table.group_by, ['x', ''])).toBe('x → n/a');
  expect(nameOf(['port', 'role'], ['80', 'client'])).toBe('80 · client');
  expect(directed(['source.zone', 'dest.zone'])).toBe(true);
  expect(directed(['dest.zone', 'source.zone'])).toBe(false);
});

it('series of an absent measure or row are gaps, not zeros', () => {
  const [first, second] = table.rows;
  if (!first || !second) throw new Error('no rows');
  expect(series(table, first, 'tcp.bytes')).toEqual([4, 6]);
  expect(series(table, first, 'tcp.rtt.p95')).toEqual([null, null]);
  expect(series(table, second, 'tcp.bytes')).toEqual([null, null]);
});

it('the rest is what is not drawn, and never less than nothing', () => {
  expect(
    rest(
      [10, null, 3],
      [
        [4, 1, 4],
        [1, null, null],
      ],
    ),
  ).toEqual([5, null, 0]);
});

it('colours: one for a name everywhere, different ones within a chart', () => {
  const charts = [
    Array.from({ length: 10 }, (_, i) => `a${i}`),
    ['a1', 'b1', 'b2', 'b3', 'b4', 'b5', 'b6', 'b7', 'b8', 'b9'],
    ['c1', 'b2', 'a3'],
  ];
  const given = allocate(new Map(), charts);
  for (const chart of charts) expect(new Set(chart.map((n) => given.get(n))).size).toBe(chart.length);
  for (const colour of given.values()) expect(colour).toBeLessThan(COLOURS);
  const again = allocate(
    given,
    charts.map((c) => [...c].reverse()),
  );
  for (const [name, colour] of given) expect(again.get(name)).toBe(colour);
});

it('colours: who meets another of its own colour gets a new one', () => {
  const met = allocate(
    new Map([
      ['a', 3],
      ['b', 3],
    ]),
    [['a', 'b']],
  );
  expect(met.get('a')).not.toBe(met.get('b'));
});
