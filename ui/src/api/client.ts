/** Calls to the server: one function a route, errors as the server words them. */
import createClient, { type Middleware } from 'openapi-fetch';
import type { paths } from './schema';
import type { EdgeQuery, Problem } from './types';

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

const bearer: Middleware = {
  onRequest({ request }) {
    const held = token.get();
    if (held) request.headers.set('authorization', `Bearer ${held}`);
    return request;
  },
};

const client = createClient<paths>({ baseUrl: globalThis.location?.origin ?? '', fetch: (request) => fetch(request) });
client.use(bearer);

interface Result<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The data of a call, or its error in words. */
async function data<T>(call: Promise<Result<T>>, signal: AbortSignal | undefined): Promise<T> {
  let result: Result<T>;
  try {
    result = await call;
  } catch (error) {
    if (signal?.aborted) throw error;
    if (error instanceof SyntaxError) throw new ApiError(0, { error: 'the server’s answer cannot be read', remedy: 'reload the page' });
    throw new ApiError(0, {
      error: 'the server does not answer',
      remedy: 'check that edgescope server runs and that this address reaches it',
    });
  }
  if (result.response.ok && result.data !== undefined) return result.data;
  throw new ApiError(result.response.status, problemOf(result));
}

function problemOf({ error, response }: Result<unknown>): Problem {
  if (typeof error === 'object' && error !== null && 'error' in error && typeof error.error === 'string') return error as Problem;
  // Not our JSON: a proxy between us and the server spoke.
  return { error: `the server answered ${response.status} ${response.statusText}`.trim() };
}

type Signal = AbortSignal | undefined;
const abort = (signal: Signal) => ({ signal: signal ?? null });

export const api = {
  status: (signal?: Signal) => data(client.GET('/api/v1/status', abort(signal)), signal),
  catalogue: (signal?: Signal) => data(client.GET('/api/v1/catalogue', abort(signal)), signal),
  edges: (ask: EdgeQuery, signal?: Signal) => data(client.POST('/api/v1/edges', { body: ask, ...abort(signal) }), signal),
  alerts: (from: string, to: string, signal?: Signal) =>
    data(client.GET('/api/v1/alerts', { params: { query: { from, to } }, ...abort(signal) }), signal),
  incidents: (from: string, to: string, signal?: Signal) =>
    data(client.GET('/api/v1/incidents', { params: { query: { from, to } }, ...abort(signal) }), signal),
  incident: (id: string, signal?: Signal) =>
    data(client.GET('/api/v1/incidents/{id}', { params: { path: { id } }, ...abort(signal) }), signal),
  asked: (from: string, to: string, workload: string, limit: number, signal?: Signal) =>
    data(client.GET('/api/v1/dns/names', { params: { query: { from, to, workload, limit } }, ...abort(signal) }), signal),
  diagnose: (from: string, to: string, workload?: string, signal?: Signal) =>
    data(client.GET('/api/v1/diagnose', { params: { query: { from, to, ...(workload ? { workload } : {}) } }, ...abort(signal) }), signal),
  why: (address: string, at: string | undefined, signal?: Signal) =>
    data(client.GET('/api/v1/why', { params: { query: { address, ...(at ? { at } : {}) } }, ...abort(signal) }), signal),
};
