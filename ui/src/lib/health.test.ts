import { expect, it } from 'vitest';
import type { Alert } from '~/api/types';
import { coverage } from '~/testing';
import { alertsAmong, alertsOn, blindSpot, health } from './health';

const of = (values: Record<string, number | null>) => (measure: string) => values[measure];
const alert = (labels: Record<string, string>, state: Alert['state'] = 'firing'): Alert => ({
  id: '1',
  detector: 'd',
  signal: 's',
  state,
  labels,
  since: '',
  value: 1,
  threshold: 1,
  baseline_s: 0,
  samples: 1,
  summary: 'it is bad',
});

it('speaks only with enough samples', () => {
  expect(health(of({ 'tcp.retrans_rate': 0.5, 'tcp.segments.sent': 4 }), undefined, []).level).toBe('unknown');
  expect(health(of({ 'tcp.retrans_rate': 0.5, 'tcp.segments.sent': 4000 }), undefined, []).level).toBe('bad');
  expect(health(of({ 'tcp.retrans_rate': 0.015, 'tcp.segments.sent': 4000 }), undefined, []).level).toBe('warn');
  expect(health(of({ 'tcp.retrans_rate': 0.001, 'tcp.segments.sent': 4000 }), undefined, []).level).toBe('ok');
  expect(health(of({}), undefined, []).level).toBe('unknown');
});

it('with agents silent nobody is healthy, and who is bad stays bad', () => {
  const well = of({ 'tcp.retrans_rate': 0.001, 'tcp.segments.sent': 4000 });
  const blind = blindSpot({ ...coverage, silent: { 'node-1': '2026-01-31T14:07:00Z' } });
  expect(blind).toBe('1 of 6 agents silent');
  expect(health(well, undefined, [], blind)).toMatchObject({
    level: 'unknown',
    why: '1 of 6 agents silent: what was not seen cannot be called healthy',
  });
  expect(health(of({ 'tcp.retrans_rate': 0.5, 'tcp.segments.sent': 4000 }), undefined, [], blind).level).toBe('bad');
  expect(blindSpot({ ...coverage, fraction: 0.71 })).toBe('coverage 71\u202f%');
  expect(blindSpot(coverage)).toBeUndefined();
});

it('each rate has a level of its own', () => {
  const ill = of({ 'tcp.retrans_rate': 0.2, 'tcp.segments.sent': 4000, 'tcp.connect_failure_rate': 0, 'tcp.connects': 100 });
  expect(health(ill, undefined, []).of).toEqual({ 'tcp.retrans_rate': 'bad', 'tcp.connect_failure_rate': 'ok' });
});

it('one good signal does not hide a bad one', () => {
  const ill = health(
    of({ 'tcp.retrans_rate': 0, 'tcp.segments.sent': 4000, 'tcp.connect_failure_rate': 0.2, 'tcp.connects': 100 }),
    undefined,
    [],
  );
  expect(ill.level).toBe('bad');
  expect(ill.why).toContain('of connects failed');
});

it('a longer round trip counts against the compared range only, and only beyond jitter', () => {
  const now = of({ 'tcp.rtt.p95': 0.02, 'tcp.retrans_rate': 0, 'tcp.segments.sent': 4000 });
  expect(health(now, undefined, []).level).toBe('ok');
  expect(health(now, of({ 'tcp.rtt.p95': 0.005 }), []).level).toBe('bad');
  expect(
    health(of({ 'tcp.rtt.p95': 0.0005, 'tcp.retrans_rate': 0, 'tcp.segments.sent': 4000 }), of({ 'tcp.rtt.p95': 0.0001 }), []).level,
  ).toBe('ok');
});

it('a firing alert makes bad, a pending one degraded', () => {
  const well = of({ 'tcp.retrans_rate': 0, 'tcp.segments.sent': 4000 });
  expect(health(well, undefined, [alert({})])).toMatchObject({ level: 'bad', why: 'it is bad' });
  expect(health(well, undefined, [alert({}, 'pending')]).level).toBe('warn');
});

it('worse is worse', () => {
  const rate = (r: number) => health(of({ 'tcp.retrans_rate': r, 'tcp.segments.sent': 4000 }), undefined, []).score;
  expect(rate(0.5)).toBeGreaterThan(rate(0.1));
  expect(rate(0.1)).toBeGreaterThan(rate(0.02));
});

it('alerts match by the dimensions that they share with the grouping', () => {
  const alerts = [
    alert({ 'source.workload': 'a', 'dest.workload': 'b' }),
    alert({ 'source.zone': 'z' }),
    alert({ 'source.workload': 'a' }, 'resolved'),
  ];
  expect(alertsOn(['source.workload', 'dest.workload'], ['a', 'b'], alerts)).toHaveLength(1);
  expect(alertsOn(['source.workload', 'dest.workload'], ['a', 'c'], alerts)).toHaveLength(0);
  expect(alertsOn(['source.zone'], ['z'], alerts)).toHaveLength(1);
  expect(alertsOn(['port'], ['1'], alerts)).toHaveLength(0);
  // Under a filter also those that are over.
  expect(alertsAmong(['source.workload', 'dest.workload'], [['a', 'b']], alerts)).toHaveLength(2);
});
