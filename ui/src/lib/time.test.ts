import { describe, expect, it } from 'vitest';
import {
  clock,
  compareRange,
  instant,
  lasted,
  liveEnd,
  parseDistance,
  parseMoment,
  RANGES,
  rangeLabel,
  resolveRange,
  stepFor,
  stepName,
  utc,
} from './time';

const now = new Date('2026-01-31T14:02:37Z');

describe('reading', () => {
  it('distances', () => {
    expect(parseDistance('15m')).toBe(900);
    expect(parseDistance('-2h30m')).toBe(9000);
    for (const bad of ['', '15', 'm', '-', '1y', '1m1', '0s']) expect(parseDistance(bad), bad).toBeUndefined();
  });

  it('moments', () => {
    expect(parseMoment('now', now)).toBe(now);
    expect(parseMoment('-1h', now)?.toISOString()).toBe('2026-01-31T13:02:37.000Z');
    expect(parseMoment('2026-01-31T13:00:00Z', now)?.toISOString()).toBe('2026-01-31T13:00:00.000Z');
    for (const bad of ['', '15m', 'tomorrow', '2026-13-99T00:00:00Z', '1']) expect(parseMoment(bad, now), bad).toBeUndefined();
  });
});

describe('ranges', () => {
  it('a live one ends before the window that is still arriving, on a window border', () => {
    expect(instant(liveEnd(now))).toBe('2026-01-31T14:02:30Z');
    expect(instant(liveEnd(new Date('2026-01-31T14:02:34Z')))).toBe('2026-01-31T14:02:20Z');
    const range = resolveRange('-15m', 'now', now);
    expect([instant(range.from), instant(range.to), range.live]).toEqual(['2026-01-31T13:47:30Z', '2026-01-31T14:02:30Z', true]);
  });

  it('a held one stays where it is, widened to whole windows', () => {
    const range = resolveRange('2026-01-31T13:00:05Z', '2026-01-31T13:10:05Z', now);
    expect([instant(range.from), instant(range.to), range.live]).toEqual(['2026-01-31T13:00:00Z', '2026-01-31T13:10:10Z', false]);
  });

  it('distances at both ends slide with the clock', () => {
    const range = resolveRange('-1h', '-30m', now);
    expect([instant(range.from), instant(range.to), range.live]).toEqual(['2026-01-31T13:02:30Z', '2026-01-31T13:32:30Z', true]);
    expect(rangeLabel('-1h', '-30m', range, now)).toBe('1h to 30m ago');
  });

  it('nonsense falls back to fifteen minutes, and says so', () => {
    expect(resolveRange('yesterday', 'now', now).wrong).toBe('cannot read from=yesterday: fifteen minutes are shown');
    expect(resolveRange('-15m', 'now', now).wrong).toBeUndefined();
    for (const [from, to] of [
      ['x', 'now'],
      ['2026-01-31T15:00:00Z', 'now'],
      ['-15m', 'y'],
    ] as const) {
      const range = resolveRange(from, to, now);
      expect(range.to.getTime() - range.from.getTime(), `${from} ${to}`).toBe(900_000);
    }
  });

  it('every preset is read', () => {
    for (const r of RANGES) expect(parseDistance(r), r).toBeGreaterThan(0);
  });

  it('compare shifts the whole range', () => {
    const range = resolveRange('-15m', 'now', now);
    expect(instant(compareRange('previous', range)?.to ?? now)).toBe('2026-01-31T13:47:30Z');
    expect(instant(compareRange('1d', range)?.from ?? now)).toBe('2026-01-30T13:47:30Z');
    expect(compareRange(undefined, range)).toBeUndefined();
    expect(compareRange('nonsense', range)).toBeUndefined();
  });
});

it('steps keep a chart under 120 points and on window borders', () => {
  for (const seconds of [60, 900, 3600, 10_800, 86_400, 31 * 86_400]) {
    const step = stepFor(seconds);
    expect(step % 10, String(seconds)).toBe(0);
    expect(seconds / step).toBeLessThanOrEqual(120);
  }
  expect(stepName(stepFor(900))).toBe('10s');
  expect(stepName(stepFor(10_800))).toBe('2m');
});

it('shows the reader’s zone, UTC beside it', () => {
  // The tests run in Vienna, an hour before UTC in winter.
  expect(clock(now, now)).toBe('15:02:37');
  // Across midnight, but minutes ago.
  expect(clock(new Date('2026-01-31T22:58:00Z'), new Date('2026-01-31T23:05:00Z'))).toBe('23:58:00');
  expect(clock(new Date('2026-01-30T14:02:37Z'), now)).toBe('30 Jan 15:02:37');
  expect(clock(new Date('2025-12-30T14:02:37Z'), now)).toBe('30 Dec 2025 15:02:37');
  expect(utc(now)).toBe('2026-01-31 14:02:37 UTC');
});

it('durations and labels', () => {
  expect([lasted(12), lasted(240), lasted(3 * 3600 + 300), lasted(50 * 3600)]).toEqual(['12 s', '4 min', '3 h 5 min', '2 d 2 h']);
  expect(rangeLabel('-3h', 'now', resolveRange('-3h', 'now', now), now)).toBe('Last 3h');
  expect(
    rangeLabel('2026-01-31T13:00:00Z', '2026-01-31T13:10:00Z', resolveRange('2026-01-31T13:00:00Z', '2026-01-31T13:10:00Z', now), now),
  ).toBe('14:00:00 – 14:10:00');
});
