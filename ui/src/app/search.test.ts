import { expect, it } from 'vitest';
import { carry, edgesSearch, mapSearch, parseSearch, shared, stringifySearch } from './search';

it('the address goes out and in unchanged', () => {
  const search = {
    from: '-3h',
    filter: "source.zone = 'a&b' OR port = '80'",
    group: 'source.node,dest.node',
    sort: '-tcp.bytes',
    workload: 'ü/?#',
  };
  expect(parseSearch(stringifySearch(search))).toEqual(search);
  expect(stringifySearch({ from: undefined, filter: undefined })).toBe('');
  // Whoever has no name can be selected, too.
  expect(mapSearch(parseSearch(stringifySearch({ workload: '' }))).workload).toBe('');
  expect(shared({ filter: '' }).filter).toBeUndefined();
});

it('what every range ends with stays out of the address', () => {
  expect(shared({ from: '-15m', to: 'now' })).toEqual({ from: '-15m', to: undefined, compare: undefined, filter: undefined });
});

it('what is no text or no choice is left out', () => {
  expect(mapSearch({ metric: 'evil', workload: 5 })).toEqual({
    metric: undefined,
    workload: undefined,
    source: undefined,
    dest: undefined,
  });
  expect(edgesSearch({ group: ['x'] }).group).toBeUndefined();
  expect(shared({ filter: 'x'.repeat(9000) }).filter).toHaveLength(2000);
});

it('links between views carry time and filter only', () => {
  expect(carry({ from: '-1h', filter: 'x', ...{ sort: 'y' } })).toEqual({ from: '-1h', to: undefined, compare: undefined, filter: 'x' });
});
