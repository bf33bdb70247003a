// @vitest-environment happy-dom
import { afterEach, expect, it, vi } from 'vitest';
import { ApiError, api, token } from './client';

afterEach(() => {
  vi.unstubAllGlobals();
  token.forget();
});

function answers(status: number, body: string) {
  const fetched = vi.fn(async (_url: string, _init: RequestInit) => new Response(body, { status, statusText: 'Odd' }));
  vi.stubGlobal('fetch', fetched);
  return fetched;
}

it('the token goes with each call, and only to our own server', async () => {
  const fetched = answers(200, '{}');
  await api.status();
  expect(fetched.mock.calls[0]?.[1].headers).not.toHaveProperty('authorization');
  token.set('secret');
  await api.coverage('a b', 'c&d');
  expect(fetched.mock.calls[1]?.[0]).toBe('/api/v1/coverage?from=a+b&to=c%26d');
  expect(fetched.mock.calls[1]?.[1].headers).toHaveProperty('authorization', 'Bearer secret');
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
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('failed')));
  await expect(api.status()).rejects.toThrow('the server does not answer');
});

it('ids are parts of the path and nothing more', async () => {
  const fetched = answers(200, '{}');
  await api.incident('../status?x=1');
  expect(fetched.mock.calls[0]?.[0]).toBe('/api/v1/incidents/..%2Fstatus%3Fx%3D1');
});
