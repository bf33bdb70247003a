import { describe, expect, it } from 'vitest';
import { all, any, choices, complete, completionAt, equals, keysFilter, quote } from './filter';

it('values cannot break out of their quotes', () => {
  expect(quote("cart' OR '1'='1")).toBe("'cart'' OR ''1''=''1'");
  expect(equals('source.zone', '')).toBe("source.zone = ''");
});

it('conditions are joined so that none changes another', () => {
  expect(all(undefined, ' ', null)).toBeUndefined();
  expect(all('a = 1')).toBe('a = 1');
  expect(all('a = 1 OR b = 2', 'c = 3')).toBe('(a = 1 OR b = 2) AND c = 3');
  expect(any(['a = 1', 'b = 2'])).toBe('(a = 1) OR (b = 2)');
  expect(
    keysFilter(
      ['source.workload', 'dest.workload'],
      [
        ['x', 'y'],
        ['p', "q'"],
      ],
    ),
  ).toBe("(source.workload = 'x' AND dest.workload = 'y') OR (source.workload = 'p' AND dest.workload = 'q''')");
});

describe('completion', () => {
  const at = (text: string) => completionAt(text, text.length);

  it.each([
    ['', 'name', ''],
    ['sour', 'name', 'sour'],
    ['source.zone ', 'operator', ''],
    ["source.zone = 'us", 'value', 'us'],
    ['source.zone = ', 'value', ''],
    ["source.zone = 'a' ", 'connective', ''],
    ["source.zone = 'a' AND ", 'name', ''],
    ["source.zone = 'a' AND (", 'name', ''],
    ["port IN ('70', ", 'value', ''],
    ["port IN ('70') ", 'connective', ''],
    ['NOT ', 'name', ''],
    ['source.zone NOT ', 'operator', ''],
    ['tcp.retrans > 5 ', 'connective', ''],
    ["dest.workload LIKE 'ca", 'value', 'ca'],
  ])('%s', (text, wants, typed) => {
    expect(at(text)).toMatchObject({ wants, typed });
  });

  it('knows whose value is wanted', () => {
    expect(at("source.zone = 'a' AND dest.zone = ").of).toBe('dest.zone');
    expect(at("port IN ('70', ").of).toBe('port');
  });

  it('offers what begins so before what holds it', () => {
    expect(choices(at('zone'), ['source.zone', 'zonelike', 'port'], [])).toEqual(['zonelike', 'source.zone']);
    expect(choices(at("source.zone = 'us"), [], ['us-a', "us'b", 'eu'])).toEqual(["'us-a'", "'us''b'"]);
  });

  it('puts the choice in place of what was typed', () => {
    const text = "source.zone = 'us";
    expect(complete(text, at(text), "'us-a'")).toEqual({ text: "source.zone = 'us-a' ", caret: 21 });
    const middle = "sour = 'x'";
    expect(complete(middle, completionAt(middle, 4), 'source.zone').text).toBe("source.zone = 'x'");
  });

  it('survives anything', () => {
    for (const text of ["'", "''", '((((', '= = =', 'a b c d', '"', '😀 = 1', "x = 'it''s'"]) expect(() => at(text)).not.toThrow();
  });
});
