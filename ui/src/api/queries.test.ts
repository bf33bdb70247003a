import { expect, it } from 'vitest';
import { movesOn } from './queries';
import type { EdgeQuery } from './types';

const query: EdgeQuery = {
  from: '2026-01-31T14:00:00Z',
  to: '2026-01-31T14:15:00Z',
  group_by: ['source.workload'],
  measures: ['tcp.bytes'],
  filter: "source.workload = 'a'",
};

it('an answer stays while its range moves on, and not under another question', () => {
  const later = { ...query, from: '2026-01-31T14:00:10Z', to: '2026-01-31T14:15:10Z' };
  expect(movesOn(query, later)).toBe(true);
  // An open incident's range grows.
  expect(movesOn(query, { ...query, to: later.to })).toBe(true);
  expect(movesOn(query, { ...later, filter: "source.workload = 'b'" })).toBe(false);
  expect(movesOn(query, { ...later, group_by: ['dest.workload'] })).toBe(false);
  expect(movesOn(query, { ...query, from: '2026-01-31T11:15:00Z' })).toBe(false);
  expect(movesOn(query, { ...later, compare_from: '2026-01-31T13:45:10Z', compare_to: later.from })).toBe(false);
});
