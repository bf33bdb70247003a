import { expect, it } from 'vitest';
import type { Status } from '~/api/types';
import { ambiguous, incident, notNetwork, status, verdict } from '~/testing';
import { bannerState } from './state';

const now = Date.parse('2026-01-31T14:10:00Z');
const say = (change: Partial<Status>) => {
  const s = bannerState({ ...status, ...change }, now);
  return [s.tone, s.answer, ...s.what, ...s.details].join(' | ');
};
const open = (v: typeof verdict) => ({ incident: { ...incident, verdict: v } });

it('each state of the banner', () => {
  expect(say({})).toBe('ok | No network problem seen | 338 edges | coverage 99.8\u202f%');
  expect(say(open(verdict))).toBe(
    'bad | Network | packet loss | zone us-east-1b | 41 of 43 paths through it are bad | 2 of 310 elsewhere | 3 workloads hit',
  );
  expect(say(open(notNetwork))).toBe('info | Not the network | service slow | workload payment');
  expect(say(open(ambiguous))).toBe('warn | Ambiguous | packet loss | node node-2 or pod payment-1');
  expect(say({ incident: { ...incident, verdict: null } })).toBe('warn | Incident | zone us-east-1b | the verdict is being made');
});

it('low coverage never reads as all well', () => {
  const silent = { 'node-1': '2026-01-31T14:07:00Z', 'node-2': '2026-01-31T14:08:00Z' };
  const blind: Partial<Status> = {
    headline: { state: 'cannot_say', text: 'cannot say: 2 of 6 agents silent' },
    coverage: { ...status.coverage, fraction: 0.8, silent },
  };
  expect(say(blind)).toBe('unknown | Cannot say | 2 of 6 agents silent for 3 min: node-1, node-2');
  expect(say({ headline: { state: 'cannot_say', text: 'cannot say: coverage 71.0 %' } })).toBe('unknown | Cannot say | coverage 71.0 %');
  expect(
    say({
      headline: { state: 'no_data', text: 'no agent has shipped anything yet' },
      coverage: { ...status.coverage, agents_expected: 0 },
    }),
  ).toContain('Cannot say | no agent reports');
  expect(say({ ...blind, ...open({ ...verdict, verdict: 'insufficient_evidence' }) })).toContain(
    'unknown | Cannot say | 2 of 6 agents silent',
  );
});

it('what keeps Edgescope from seeing is said, with and without an incident', () => {
  expect(say({ store_error: 'disk full' })).toBe('unknown | Cannot say | nothing is stored: disk full');
  expect(say({ detection: { error: 'out of memory' } })).toBe('unknown | Cannot say | detection fails: out of memory');
  expect(say({ ...open(notNetwork), store_error: 'disk full' })).toContain('workload payment | nothing is stored: disk full');
});

it('further open incidents are counted', () => {
  const two = { ...status, ...open(verdict), counts: { ...status.counts, incidents_open: 2 } };
  expect(bannerState(two, now).others).toBe(1);
  expect(bannerState({ ...status, ...open(verdict) }, now).others).toBe(0);
});

it('since is the verdict’s moment, else the incident’s', () => {
  expect(bannerState({ ...status, ...open({ ...verdict, since: null }) }, now).since).toBe(incident.since);
});
