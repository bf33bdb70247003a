/** Calls to the server: one function a route, errors as the server words them. */
import type {
  AlertsAnswer,
  Catalogue,
  Coverage,
  EdgeQuery,
  EdgesAnswer,
  IncidentAnswer,
  IncidentsAnswer,
  Problem,
  Status,
  Verdict,
} from './types';

const TOKEN_KEY = 'edgescope-token';

/** An answer that is no answer: what is wrong and what to do. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.error);
  }
}

/** The reader's token; kept for as long as the tab is open. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY),
  set: (value: string) => sessionStorage.setItem(TOKEN_KEY, value),
  forget: () => sessionStorage.removeItem(TOKEN_KEY),
};

async function call<T>(path: string, signal: AbortSignal | undefined, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { accept: 'application/json' };
  const held = token.get();
  if (held) headers.authorization = `Bearer ${held}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, {
      error: 'the server does not answer',
      remedy: 'check that edgescope server runs and that this address reaches it',
    });
  }
  if (response.ok) return (await response.json()) as T;
  throw new ApiError(response.status, await problemOf(response));
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    const body = (await response.json()) as Partial<Problem>;
    if (typeof body.error === 'string') return { error: body.error, field: body.field ?? null, remedy: body.remedy ?? null };
  } catch {
    // Not JSON: a proxy between us and the server spoke.
  }
  return { error: `the server answered ${response.status} ${response.statusText}`.trim() };
}

function query(parameters: Record<string, string | undefined>): string {
  const given = Object.entries(parameters).filter((p): p is [string, string] => p[1] !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : '';
}

export const api = {
  status: (signal?: AbortSignal) => call<Status>('/status', signal),
  catalogue: (signal?: AbortSignal) => call<Catalogue>('/catalogue', signal),
  coverage: (from: string, to: string, signal?: AbortSignal) => call<Coverage>(`/coverage${query({ from, to })}`, signal),
  edges: (ask: EdgeQuery, signal?: AbortSignal) => call<EdgesAnswer>('/edges', signal, ask),
  alerts: (from: string, to: string, signal?: AbortSignal) => call<AlertsAnswer>(`/alerts${query({ from, to })}`, signal),
  incidents: (from: string, to: string, signal?: AbortSignal) => call<IncidentsAnswer>(`/incidents${query({ from, to })}`, signal),
  incident: (id: string, signal?: AbortSignal) => call<IncidentAnswer>(`/incidents/${encodeURIComponent(id)}`, signal),
  diagnose: (from: string, to: string, workload?: string, signal?: AbortSignal) =>
    call<Verdict>(`/diagnose${query({ from, to, workload })}`, signal),
};
