/** Words of the API, named for the views. Every shape follows the server's OpenAPI description. */

/** RFC 3339. */
export type Instant = string;

export interface EdgeQuery {
  from: Instant;
  to: Instant;
  step_s?: number | null;
  group_by: string[];
  filter?: string | null;
  measures: string[];
  compare_from?: Instant | null;
  compare_to?: Instant | null;
  sort?: string | null;
  limit?: number | null;
}

export interface EdgeRow {
  key: string[];
  totals: (number | null)[];
  compare?: (number | null)[];
  series?: (number | null)[][];
}

export interface EdgeTable {
  from: Instant;
  to: Instant;
  step_s: number | null;
  steps: Instant[];
  group_by: string[];
  measures: string[];
  rows: EdgeRow[];
  groups_total: number;
  resolution_s: number;
}

export interface Coverage {
  fraction: number;
  agents_reporting: number;
  agents_expected: number;
  silent: Record<string, Instant>;
  losses: Record<string, number>;
}

export interface EdgesAnswer extends EdgeTable {
  coverage: Coverage;
  own_hidden: boolean;
}

export type Answer = 'network' | 'not_network' | 'ambiguous' | 'insufficient_evidence';
export type Class =
  | 'loss'
  | 'latency'
  | 'unreachable'
  | 'policy'
  | 'dns'
  | 'service_down'
  | 'service_slow'
  | 'receiver_limited'
  | 'demand_drop'
  | 'none';
export type Scope = 'node' | 'zone' | 'zone_pair' | 'node_pair' | 'workload' | 'pod' | 'edge' | 'dns' | 'none';

export interface Culprit {
  scope: Scope;
  name: string;
  peer?: string | null;
}

export interface Evidence {
  signal: string;
  scope: string;
  value?: number | null;
  baseline?: number | null;
  ratio?: number | null;
  samples: number;
  test: string;
}

export interface Affected {
  source: string;
  dest: string;
  impact: number;
  symptom: string;
}

export interface Control {
  what: string;
  edges: number;
  bad: number;
  why: string;
}

export interface Hypothesis {
  class: Class;
  culprit: Culprit;
  log_likelihood: number;
  edges: number;
  edges_bad: number;
  why: string;
}

export interface Verdict {
  verdict: Answer;
  class: Class;
  confidence: number;
  culprit: Culprit;
  since?: Instant | null;
  summary: string;
  evidence: Evidence[];
  affected: Affected[];
  controls: Control[];
  hypotheses: Hypothesis[];
  coverage: Coverage;
  from: Instant;
  to: Instant;
  edges: number;
}

export type AlertState = 'pending' | 'firing' | 'resolved';

export interface Alert {
  id: string;
  detector: string;
  signal: string;
  state: AlertState;
  labels: Record<string, string>;
  since: Instant;
  fired_at?: Instant | null;
  resolved_at?: Instant | null;
  value: number;
  threshold: number;
  baseline?: number | null;
  baseline_s: number;
  samples: number;
  summary: string;
  incident?: string | null;
}

export interface Incident {
  id: string;
  opened_at: Instant;
  since: Instant;
  closed_at?: Instant | null;
  alerts: string[];
  component: Culprit;
  verdict?: Verdict | null;
  diagnosed_at?: Instant | null;
}

export type HeadlineState = 'network' | 'not_network' | 'ambiguous' | 'cannot_say' | 'deciding' | 'clear' | 'no_data';

export interface Status {
  version: string;
  now: Instant;
  started_at: Instant;
  uptime_s: number;
  headline: { state: HeadlineState; text: string };
  /** The open incident that hits most. */
  incident?: Incident | null;
  counts: { edges: number; workloads: number; agents: number; alerts_firing: number; alerts_pending: number; incidents_open: number };
  coverage: Coverage;
  simulated: boolean;
  insecure: boolean;
  tokens: boolean;
  detection: { last_at?: Instant | null; last_took_s?: number | null; error?: string | null };
  store_error?: string | null;
}

export interface AlertsAnswer {
  alerts: Alert[];
  total: number;
}

export interface IncidentsAnswer {
  incidents: Incident[];
  total: number;
}

export interface IncidentAnswer extends Incident {
  alerts_full: Alert[];
}

export interface Signal {
  name: string;
  kind: 'sum' | 'max' | 'min' | 'histogram';
  ends: 'sender' | 'receiver' | 'both';
  unit: Unit;
  brief: string;
}

export type Unit = 'bytes' | 'count' | 'seconds' | 'socket_seconds' | 'ratio';

export interface Derived {
  name: string;
  unit: Unit;
  brief: string;
}

export interface Catalogue {
  signals: Signal[];
  derived: Derived[];
  dimensions: string[];
}

/** Why the server did not answer. */
export interface Problem {
  error: string;
  field?: string | null;
  remedy?: string | null;
}
