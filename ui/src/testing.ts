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
    { class: 'loss', culprit: { scope: 'zone', name: 'us-east-1b' }, log_likelihood: 800, edges: 43, edges_bad: 41, why: 'explains all' },
    { class: 'loss', culprit: { scope: 'node', name: 'node-3' }, log_likelihood: 400, edges: 20, edges_bad: 18, why: 'node-4 is as bad' },
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
