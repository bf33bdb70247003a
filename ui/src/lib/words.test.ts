import { expect, it } from 'vitest';
import { plainLine } from '~/parts/copy';
import { ambiguous, elsewhere, incident, notNetwork, verdict } from '~/testing';
import { asRequests, shellQuote, toCsv } from './export';
import { markdown } from './report';
import { borderFilter, counts, culpritFilter, culpritWords, headline, measureOf, sinceOf, standing, suspectFilter, where } from './words';

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
  expect(counts(verdict)).toEqual(['41 of 43 paths through it are bad', '2 of 310 elsewhere', '3 workloads hit']);
  expect(counts(notNetwork)).toEqual([]);
  expect(counts(ambiguous)).toEqual([]);
  // The pair that was taken, not the other one of the same name.
  const pair = (peer: string, bad: number) => ({
    class: 'loss' as const,
    culprit: { scope: 'zone_pair' as const, name: 'a', peer },
    log_likelihood: 1,
    edges: 9,
    edges_bad: bad,
    why: '',
  });
  const [c, b] = [pair('c', 2), pair('b', 7)];
  expect(counts({ ...verdict, culprit: b.culprit, hypotheses: [c, b], controls: [], affected: [] })).toEqual([
    '7 of 9 paths through it are bad',
  ]);
});

it('explanations stand as the server says, not by their place in the list', () => {
  expect(ambiguous.hypotheses.map((h) => standing(ambiguous, h))).toEqual(['nearest', 'possible', 'cleared']);
  expect(verdict.hypotheses.map((h) => standing(verdict, h))).toEqual(['taken', 'cleared']);
  expect(elsewhere.hypotheses.map((h) => standing(elsewhere, h))).toEqual(['taken', 'cleared']);
  const thin = { ...ambiguous, verdict: 'insufficient_evidence' as const };
  expect(thin.hypotheses.map((h) => standing(thin, h))).toEqual(['nearest', 'possible', 'cleared']);
});

it('one headline for each verdict; who was cleared is not named', () => {
  expect(where(ambiguous)).toBe('node node-2 or pod payment-1');
  expect(where({ ...ambiguous, hypotheses: ambiguous.hypotheses.slice(0, 1) })).toBe('perhaps node node-2');
  expect(suspectFilter(ambiguous)).toContain("source.pod = 'payment-1'");
  expect(headline(verdict)).toEqual({ tone: 'bad', answer: 'Network', what: ['packet loss', 'zone us-east-1b'] });
  expect(headline(elsewhere)).toEqual({ tone: 'info', answer: 'Not here', what: ['trouble elsewhere'] });
  expect(headline({ ...elsewhere, hypotheses: [] })).toEqual({ tone: 'ok', answer: 'No problem seen', what: [] });
});

it('an incident began once', () => {
  expect(sinceOf(incident)).toBe(verdict.since);
  expect(sinceOf({ ...incident, verdict: null })).toBe(incident.since);
});

it('the measure drawn is the one that moved', () => {
  const catalogue = {
    dimensions: [],
    signals: [
      { name: 'tcp.bytes', kind: 'sum' as const, ends: 'both' as const, unit: 'bytes' as const, brief: '' },
      { name: 'tcp.stalled', kind: 'sum' as const, ends: 'sender' as const, unit: 'socket_seconds' as const, brief: '' },
    ],
    derived: [{ name: 'tcp.connect_timeout_rate', unit: 'ratio' as const, brief: '' }],
  };
  const number = (signal: string, value: number | null, baseline: number | null) => ({
    signal,
    scope: '',
    value,
    baseline,
    ratio: null,
    samples: 1,
    test: '',
  });
  const cut = { ...verdict, class: 'unreachable' as const };
  const evidence = [
    number('tcp.connect_timeout_rate', null, null),
    number('tcp.bytes.received.rate', 0, 9),
    number('tcp.stalled.rate', 4, 0),
  ];
  expect(measureOf({ ...cut, evidence }, catalogue)).toBe('tcp.stalled.rate');
  expect(measureOf({ ...cut, evidence: [] }, catalogue)).toBe('tcp.connect_timeouts');
  const slow = { ...notNetwork, evidence: [number('tcp.active per tcp.connects', 2, 1)] };
  expect(measureOf(slow, catalogue)).toBe('tcp.active.rate');
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

it('calls are whole and safe to paste', () => {
  expect(shellQuote("it's; rm -rf /")).toBe(`'it'\\''s; rm -rf /'`);
  const all = { ...query, step_s: 10, compare_from: '2026-01-31T13:45:00Z', compare_to: query.from };
  const calls = asRequests([all, query], 'http://host', false).split('\n');
  expect(calls).toHaveLength(2);
  expect(calls[0]).toMatch(/^curl .*"step_s":10,"compare_from":"2026-01-31T13:45:00Z".* http:\/\/host\/api\/v1\/edges$/);
  expect(calls[0]).not.toContain('authorization');
  expect(asRequests([query], 'http://host', true)).toContain('-H "authorization: Bearer $EDGESCOPE_TOKEN"');
  expect(plainLine('a\nb\u202ec\u0007d')).toBe('a bc d');
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
