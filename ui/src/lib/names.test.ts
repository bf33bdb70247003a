import { expect, it } from 'vitest';
import { endPoint, foundBy, isUnnamed } from './names';

it('addresses and blocks are no names, names that hold numbers are', () => {
  for (const text of ['', '10.0.0.5', '198.51.100.0/24', 'fd00::5', '::1', '2001:db8:1::/48']) expect(isUnnamed(text), text).toBe(true);
  for (const text of ['cart', 'v1.2.3', 'aws s3 us-east-1', '10.0.0.5<img>', 'a::b::zone', 'shop:7070', 'face']) {
    expect(isUnnamed(text), text).toBe(false);
  }
});

it('a port stands behind its address', () => {
  expect(endPoint('10.0.0.5', '443')).toBe('10.0.0.5:443');
  expect(endPoint('fd00::5', 443)).toBe('[fd00::5]:443');
  expect(endPoint('10.0.0.5', null)).toBe('10.0.0.5');
});

it('what this page does not know is told as it is', () => {
  expect(foundBy('rule')).toMatch(/rule/);
  expect(foundBy('tea_leaves')).toBe('tea_leaves');
});
