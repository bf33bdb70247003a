/** Examples that several tests share. */
import type { Coverage, Incident, Status, Verdict } from './api/types';

export const coverage: Coverage = { fraction: 0.998, agents_reporting: 6, agents_expected: 6, silent: {}, losses: {} };

export const verdict: Verdict = {
  verdict: 'network',
  class: 'loss',
  confidence: 0.97,
  culprit: { scope: 'zone', name: 'us-east-1b' },
  since: '2026-01-31T14:02:30Z',
  summary: 'Packets are lost on the way into zone us-east-1b.',
  evidence: [
    {
      signal: 'tcp.retrans_rate',
      scope: 'edges through zone us-east-1b',
      value: 0.134,
      baseline: 0.0006,
      ratio: 223,
      samples: 48211,
      test: 'binomial',
    },
  ],
  affected: [
    { source: 'frontend', dest: 'cart', impact: 0.9, symptom: 'loss' },
    { source: 'cart', dest: 'redis', impact: 0.4, symptom: 'loss' },
  ],
  controls: [{ what: 'edges elsewhere', edges: 310, bad: 2, why: 'no loss there' }],
  hypotheses: [
    {
      class: 'loss',
      culprit: { scope: 'zone', name: 'us-east-1b' },
      log_likelihood: 800,
      edges: 43,
      edges_bad: 41,
      why: 'taken: 41 of 43 edges with enough samples are bad, explains 99 % of what is seen',
    },
    {
      class: 'loss',
      culprit: { scope: 'node', name: 'node-3' },
      log_likelihood: 400,
      edges: 20,
      edges_bad: 18,
      why: 'cleared: explains 40 % of what is seen, the one taken 99 %',
    },
  ],
  coverage,
  from: '2026-01-31T13:57:30Z',
  to: '2026-01-31T14:10:00Z',
  edges: 353,
};

export const notNetwork: Verdict = {
  ...verdict,
  verdict: 'not_network',
  class: 'service_slow',
  culprit: { scope: 'workload', name: 'payment' },
  affected: [],
  controls: [],
  hypotheses: [],
  evidence: [],
};

/** As the server words one: without a culprit, and what it cleared says so. */
export const ambiguous: Verdict = {
  ...verdict,
  verdict: 'ambiguous',
  culprit: { scope: 'none', name: '' },
  affected: [],
  controls: [],
  evidence: [],
  hypotheses: [
    {
      class: 'loss',
      culprit: { scope: 'node', name: 'node-2' },
      log_likelihood: 402,
      edges: 12,
      edges_bad: 12,
      why: 'nearest: 12 of 12 edges with enough samples are bad, explains 98 % of what is seen',
    },
    {
      class: 'loss',
      culprit: { scope: 'pod', name: 'payment-1' },
      log_likelihood: 402,
      edges: 12,
      edges_bad: 12,
      why: 'passes the very same edges as node, which is larger: cannot be told apart',
    },
    {
      class: 'loss',
      culprit: { scope: 'zone', name: 'us-east-1a' },
      log_likelihood: 30,
      edges: 10,
      edges_bad: 2,
      why: 'cleared: 8 of its 10 edges with enough samples are fine',
    },
  ],
};

/** Asked about a workload that is well while others are not. */
export const elsewhere: Verdict = {
  ...verdict,
  verdict: 'not_network',
  class: 'none',
  culprit: { scope: 'none', name: '' },
  since: null,
  summary: 'No network problem seen at ads. Elsewhere: packets are lost.',
  evidence: [],
  affected: [],
  controls: [],
};

export const incident: Incident = {
  id: 'i1',
  opened_at: '2026-01-31T14:03:00Z',
  since: '2026-01-31T14:02:30Z',
  closed_at: null,
  alerts: ['a1'],
  component: verdict.culprit,
  verdict,
};

export const status: Status = {
  version: '0.1.0',
  now: '2026-01-31T14:10:00Z',
  started_at: '2026-01-31T13:00:00Z',
  uptime_s: 1,
  headline: { state: 'clear', text: 'no network problem seen' },
  incident: null,
  counts: { edges: 338, workloads: 12, agents: 6, alerts_firing: 0, alerts_pending: 0, incidents_open: 0 },
  coverage,
  simulated: false,
  insecure: false,
  tokens: false,
  detection: {},
};
