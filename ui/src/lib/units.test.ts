import { describe, expect, it } from 'vitest';
import type { Catalogue } from '~/api/types';
import { change, evidenceUnit, exact, isMeasure, plural, show, showEvidence, showMeasure, unitOf } from './units';

describe('show', () => {
  it.each([
    [0, '0 B'],
    [512, '512 B'],
    [1024, '1 KiB'],
    [250_880, '245 KiB'],
    [1023.6, '1 KiB'],
    [1_048_576 * 12.34, '12.3 MiB'],
    [-2048, '-2 KiB'],
  ])('bytes %d', (value, text) => expect(show('bytes', value)).toBe(text));

  it.each([
    [0, '0 ms'],
    [0.0005, '500 µs'],
    [0.0018, '1.8 ms'],
    [0.99999, '1 s'],
    [90, '90 s'],
    [600, '10 min'],
    [10_800, '3 h'],
  ])('seconds %d', (value, text) => expect(show('seconds', value)).toBe(text));

  it('ratios as percent, tiny ones not as zero', () => {
    expect(show('ratio', 0)).toBe('0\u202f%');
    expect(show('ratio', 0.134)).toBe('13.4\u202f%');
    expect(show('ratio', 0.00001)).toBe('<0.01\u202f%');
  });

  it('counts grouped, great ones short', () => {
    expect(show('count', 1178.4)).toBe('1,178');
    expect(show('count', 48_211)).toBe('48.2 k');
    expect(show('count', 1_250_000)).toBe('1.25 M');
    expect(show('count', 0.4)).toBe('0.4');
  });

  it('nothing measured is no zero', () => {
    expect(show('bytes', null)).toBe('–');
    expect(show('count', undefined)).toBe('–');
    expect(exact('bytes', null)).toBe('no data');
  });
});

it('exact keeps every digit', () => {
  expect(exact('bytes', 1_234_567)).toBe('1,234,567 bytes');
  expect(exact('seconds', 0.001234)).toBe('0.001234 s');
});

it('change says how much, or that it is new', () => {
  expect(change(10, 2)).toBe('×5');
  expect(change(1.1, 1)).toBe('+10\u202f%');
  expect(change(0.5, 1)).toBe('−50\u202f%');
  expect(change(216, 0.0016)).toBe('over ×1000');
  expect(change(3, 0)).toBe('new');
  expect(change(0, 0)).toBe('');
  expect(change(null, 1)).toBe('');
});

it('plural', () => {
  expect(plural(1, 'edge')).toBe('1 edge');
  expect(plural(1200, 'edge')).toBe('1,200 edges');
});

const catalogue: Catalogue = {
  dimensions: [],
  signals: [
    { name: 'tcp.bytes', kind: 'sum', ends: 'both', unit: 'bytes', brief: '' },
    { name: 'tcp.rtt', kind: 'histogram', ends: 'sender', unit: 'seconds', brief: '' },
    { name: 'tcp.rtt_max', kind: 'max', ends: 'sender', unit: 'seconds', brief: '' },
    { name: 'tcp.active', kind: 'sum', ends: 'sender', unit: 'socket_seconds', brief: '' },
    { name: 'tcp.busy', kind: 'sum', ends: 'sender', unit: 'seconds', brief: '' },
  ],
  derived: [{ name: 'tcp.retrans_rate', unit: 'ratio', brief: '' }],
};

it('unitOf follows the catalogue through sides and suffixes', () => {
  expect(unitOf('tcp.bytes.sent', catalogue)).toBe('bytes');
  expect(unitOf('tcp.bytes.rate', catalogue)).toBe('bytes');
  expect(unitOf('tcp.rtt.p95', catalogue)).toBe('seconds');
  expect(unitOf('tcp.rtt.count', catalogue)).toBe('count');
  expect(unitOf('tcp.rtt_max', catalogue)).toBe('seconds');
  expect(unitOf('tcp.active.rate', catalogue)).toBe('count');
  expect(unitOf('tcp.busy.rate', catalogue)).toBe('count');
  expect(unitOf('tcp.retrans_rate', catalogue)).toBe('ratio');
  expect(unitOf('whatever', catalogue)).toBe('count');
});

it('rates say per second, open connections do not', () => {
  expect(showMeasure('tcp.bytes.rate', 'bytes', 2048)).toBe('2 KiB/s');
  expect(showMeasure('tcp.active.rate', 'count', 12)).toBe('12');
  expect(showMeasure('tcp.bytes.rate', 'bytes', null)).toBe('–');
});

it('what evidence is of, though its signal is of something else', () => {
  expect(showEvidence('tcp.active per tcp.connects', catalogue, 0.48)).toBe('480 ms a connection');
  expect(evidenceUnit('tcp.connects_refused', catalogue)).toBe('ratio');
  expect(showEvidence('tcp.connects_refused', catalogue, 0.4)).toBe('40\u202f% of connects');
  expect(showEvidence('tcp.retrans_rate', catalogue, 0.134)).toBe('13.4\u202f%');
  expect(showEvidence('tcp.connects_refused', catalogue, null)).toBe('–');
});

it('only what the catalogue has can be asked for', () => {
  expect(isMeasure('tcp.rtt.p95', catalogue)).toBe(true);
  expect(isMeasure('tcp.retrans_rate', catalogue)).toBe(true);
  expect(isMeasure('tcp.active per tcp.connects', catalogue)).toBe(false);
  expect(isMeasure('tcp.rtt.p95', undefined)).toBe(false);
});
