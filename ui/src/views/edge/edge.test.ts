import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { EdgesAnswer } from '~/api/types';
import { items } from '~/lib/edges';
import { coverage } from '~/testing';
import { EDGE_MEASURES, linesOf, PLANS } from './plans';
import { timeParts } from './TimeBar';

function answer(values: Record<string, (number | null)[]>): EdgesAnswer {
  const measures = Object.keys(values);
  const totals = measures.map((m) => values[m]?.reduce<number>((s, v) => s + (v ?? 0), 0) ?? null);
  return {
    from: '',
    to: '',
    step_s: 10,
    steps: ['a', 'b'],
    group_by: [],
    measures,
    rows: [{ key: [], totals, series: Object.values(values) }],
    groups_total: 1,
    resolution_s: 10,
    coverage,
    own_hidden: true,
  };
}

const plan = (title: string) => {
  const found = PLANS.find((p) => p.title === title);
  if (!found) throw new Error(title);
  return found;
};

it('data retransmissions are all but those of SYN and SYN-ACK', () => {
  const table = answer({ 'tcp.retrans': [10, 5], 'tcp.retrans_syn': [2, null], 'tcp.retrans_synack': [1, 0] });
  expect(linesOf(plan('# Retransmissions'), table).map((s) => [s.name, s.values])).toEqual([
    ['data', [7, 5]],
    ['SYN', [2, null]],
    ['SYN-ACK', [1, 0]],
  ]);
});

it('columns show what happened, and that nothing did', () => {
  const table = answer({ 'tcp.connects_established': [0, 0], 'tcp.connect_timeouts': [0, 0] });
  expect(linesOf(plan('Connects'), table).map((s) => s.name)).toEqual(['established']);
  expect(linesOf(plan('Connects'), answer({}))).toEqual([]);
});

it('drops are told by where and why, and only those that happened', () => {
  const table = answer({
    'kernel.drops_policy.sent': [3, null],
    'kernel.drops_policy.received': [null, null],
    'kernel.drops_queue.received': [0, 2],
    'kernel.drops_other': [0, 0],
  });
  expect(linesOf(plan('Dropped by the ends’ kernels'), table).map((s) => s.name)).toEqual([
    'filtered at the source',
    'no room at the destination',
  ]);
});

it('every measure of every chart is asked for', () => {
  for (const p of PLANS) for (const l of p.lines) for (const m of [l.measure, ...(l.less ?? [])]) expect(EDGE_MEASURES).toContain(m);
});

it('time is shared out without remainder, and not without an agent', () => {
  const [item] = items(
    answer({ 'tcp.active': [60, 40], 'tcp.busy': [20, 10], 'tcp.blocked_rwnd': [5, 0], 'tcp.blocked_sndbuf': [1, 0] }),
    [],
  );
  if (!item) throw new Error('no item');
  const parts = timeParts(item);
  expect(parts?.map((p) => p.seconds)).toEqual([24, 5, 1, 70]);
  const [blind] = items(answer({ 'tcp.bytes': [1, 2] }), []);
  expect(blind && timeParts(blind)).toBeUndefined();
});

it('asks for measures that the catalogue has, all of them', () => {
  const page = readFileSync('../docs/signals.md', 'utf8');
  expect(EDGE_MEASURES.filter((m) => !page.includes(`\`${m}\``))).toEqual([]);
});
