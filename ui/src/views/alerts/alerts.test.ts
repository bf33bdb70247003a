import { expect, it } from 'vitest';
import type { Alert } from '~/api/types';
import { alertFilter, labelWords } from './AlertRow';

const alert = {
  labels: { 'dest.namespace': 'shop', 'dest.workload': 'b', role: 'client', 'source.namespace': 'shop', 'source.workload': "a'x" },
} as unknown as Alert;

it('labels read as pairs', () => {
  expect(labelWords(alert)).toEqual([
    ['workload', "a'x → b"],
    ['namespace', 'shop'],
    ['role', 'client'],
  ]);
});

it('labels are a filter', () => {
  expect(alertFilter(alert)).toBe(
    "dest.namespace = 'shop' AND dest.workload = 'b' AND role = 'client' AND source.namespace = 'shop' AND source.workload = 'a''x'",
  );
  expect(alertFilter({ ...alert, labels: {} })).toBeUndefined();
});
