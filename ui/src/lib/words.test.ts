import { expect, it } from 'vitest';
import { notNetwork, verdict } from '~/testing';
import { asCommand, asRequest, shellQuote, toCsv } from './export';
import { markdown } from './report';
import { borderFilter, contenders, counts, culpritFilter, culpritWords } from './words';

it('culprits in words', () => {
  expect(culpritWords({ scope: 'zone', name: 'a' })).toBe('zone a');
  expect(culpritWords({ scope: 'zone_pair', name: 'a', peer: 'b' })).toBe('zones a → b');
  expect(culpritWords({ scope: 'none', name: '' })).toBe('');
});

it('culprits as filters, directed where they are', () => {
  expect(culpritFilter({ scope: 'zone', name: 'a' })).toBe("(source.zone = 'a' OR dest.zone = 'a')");
  expect(culpritFilter({ scope: 'zone_pair', name: 'a', peer: 'b' })).toBe("source.zone = 'a' AND dest.zone = 'b'");
  expect(culpritFilter({ scope: 'edge', name: "o'x", peer: 'b' })).toBe("source.workload = 'o''x' AND dest.workload = 'b'");
  expect(culpritFilter({ scope: 'none', name: '' })).toBeUndefined();
  expect(borderFilter({ scope: 'zone', name: 'a' })).toBe(
    "(source.zone = 'a' OR dest.zone = 'a') AND NOT (source.zone = 'a' AND dest.zone = 'a')",
  );
});

it('counts of a verdict', () => {
  expect(counts(verdict)).toEqual(['41 of 43 edges through it are bad', '2 of 310 elsewhere', '3 workloads hit']);
  expect(contenders(verdict)).toBe('zone us-east-1b or node node-3');
  expect(counts(notNetwork)).toEqual([]);
});

it('the report is Markdown that telemetry cannot change', () => {
  const text = markdown(
    { ...verdict, affected: [{ source: '<img>|x', dest: '[a](b)', impact: 0.5, symptom: 'loss\n# no' }] },
    undefined,
    'http://host/diagnose',
  );
  expect(text).toContain('## Network · packet loss · zone us-east-1b');
  expect(text).toContain('| \\<img\\>\\|x | \\[a\\](b) |');
  expect(text).toContain('| loss \\# no |');
  expect(text).toContain('2026-01-31 14:02:30 UTC');
});

const query = {
  from: '2026-01-31T14:00:00Z',
  to: '2026-01-31T14:15:00Z',
  group_by: ['source.workload'],
  measures: ['tcp.bytes'],
  filter: "dest.zone = 'a'",
};

it('commands and calls are safe to paste', () => {
  expect(shellQuote("it's; rm -rf /")).toBe(`'it'\\''s; rm -rf /'`);
  expect(asCommand(query)).toBe(
    `edgescope edges --json --from 2026-01-31T14:00:00Z --to 2026-01-31T14:15:00Z --group-by source.workload --filter 'dest.zone = '\\''a'\\'''`,
  );
  expect(asRequest(query, 'http://host')).toContain('http://host/api/v1/edges');
});

it('CSV fields cannot become formulas or columns', () => {
  const csv = toCsv({
    kind: 'lines',
    unit: 'bytes',
    times: [0, 10_000],
    stepS: 10,
    from: 0,
    to: 1,
    series: [
      { name: '=cmd()', values: [1, null], colour: 0 },
      { name: 'a,"b"', values: [2, 3], colour: 1 },
    ],
  });
  expect(csv).toBe(`time,'=cmd(),"a,""b"""\r\n1970-01-01T00:00:00.000Z,1,2\r\n1970-01-01T00:00:10.000Z,,3\r\n`);
});
