// @vitest-environment happy-dom
import { afterEach, expect, it, vi } from 'vitest';
import { ApiError, api, token } from './client';

afterEach(() => {
  vi.unstubAllGlobals();
  token.forget();
});

function answers(status: number, body: string) {
  const fetched = vi.fn(async (_request: Request) => new Response(body, { status, statusText: 'Odd' }));
  vi.stubGlobal('fetch', fetched);
  return (call: number) => fetched.mock.calls[call]?.[0];
}

const path = (request: Request | undefined) => {
  const url = new URL(request?.url ?? 'http://none');
  return url.pathname + url.search;
};

it('the token goes with each call, and only to our own server', async () => {
  const request = answers(200, '{}');
  await api.status();
  expect(request(0)?.headers.get('authorization')).toBeNull();
  token.set('secret');
  await api.alerts('a b', 'c&d');
  expect(new URL(request(1)?.url ?? '').origin).toBe(location.origin);
  expect(path(request(1))).toBe('/api/v1/alerts?from=a%20b&to=c%26d');
  expect(request(1)?.headers.get('authorization')).toBe('Bearer secret');
});

it('queries go in the body', async () => {
  const request = answers(200, '{}');
  await api.edges({ from: 'a', to: 'b', group_by: [], measures: ['tcp.bytes'] });
  expect(request(0)?.method).toBe('POST');
  expect(await request(0)?.json()).toEqual({ from: 'a', to: 'b', group_by: [], measures: ['tcp.bytes'] });
});

it('errors keep the server’s words', async () => {
  answers(400, '{"error":"filter: no column \'x\'","field":"filter","remedy":"write source.zone"}');
  const error = await api.incident('a/b').catch((e: unknown) => e);
  expect(error).toBeInstanceOf(ApiError);
  expect((error as ApiError).problem).toEqual({ error: "filter: no column 'x'", field: 'filter', remedy: 'write source.zone' });
});

it('a proxy’s page and a dead server are errors with words, too', async () => {
  answers(502, '<html>');
  await expect(api.status()).rejects.toThrow('the server answered 502 Odd');
  answers(200, '<html>');
  await expect(api.status()).rejects.toThrow('cannot be read');
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('failed')));
  await expect(api.status()).rejects.toThrow('the server does not answer');
});

it('ids are parts of the path and nothing more', async () => {
  const request = answers(200, '{}');
  await api.incident('../status?x=1');
  expect(path(request(0))).toBe('/api/v1/incidents/..%2Fstatus%3Fx%3D1');
});
