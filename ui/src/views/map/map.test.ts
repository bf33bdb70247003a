import { describe, expect, it } from 'vitest';
import type { EdgeItem } from '~/lib/edges';
import type { Level } from '~/lib/health';
import { graphOf, OBJECTS_MAX, widthOf } from './graph';
import { arc, place, RADIUS, shortLabel } from './layout';
import { zoomed } from './pan';

const edge = (source: string, dest: string, bytes: number, level: Level = 'ok'): EdgeItem => ({
  id: `${source}>${dest}`,
  key: [source, dest],
  value: (m) => (m === 'tcp.bytes' ? bytes : null),
  before: () => undefined,
  health: { level, score: level === 'bad' ? 1 : 0, why: '', of: {} },
  alerts: [],
});

describe('what is drawn', () => {
  const few = [edge('a', 'b', 5), edge('b', 'a', 9), edge('b', 'c', 1), edge('c', 'c', 4)];

  it('all of little, but no talk with oneself', () => {
    const g = graphOf(few, 'bytes', {});
    expect([g.nodes.length, g.edges.length, g.edgesTotal, g.selves]).toEqual([3, 3, 3, 1]);
  });

  it('a workload with its neighbours, an edge with its two ends', () => {
    expect(
      graphOf(few, 'bytes', { workload: 'a' })
        .edges.map((e) => e.id)
        .sort(),
    ).toEqual(['a>b', 'b>a']);
    expect(graphOf(few, 'bytes', { source: 'b', dest: 'c' }).nodes).toEqual(['b', 'c']);
    expect(graphOf(few, 'bytes', { workload: 'nobody' }).edges).toEqual([]);
  });

  it('no edge on which nothing went, unless it is ill; but it is counted', () => {
    const g = graphOf([...few, edge('x', 'y', 0, 'unknown'), edge('p', 'q', 0, 'bad')], 'bytes', {});
    expect([g.idle, g.nodes.includes('x'), g.nodes.includes('p')]).toEqual([1, false, true]);
    const udp = { ...edge('x', 'y', 0, 'unknown'), value: (m: string) => (m === 'udp.bytes' ? 5 : null) };
    expect(graphOf([udp], 'bytes', {}).nodes).toEqual(['x', 'y']);
  });

  it('never more than can be read, the ill ones among it, hanging together', () => {
    const many = Array.from({ length: 3000 }, (_, i) => edge(`n${i % 400}`, `n${(i * 7 + 1) % 400}`, i));
    many.push(edge('lonely-1', 'lonely-2', 0, 'bad'));
    const g = graphOf(many, 'bytes', {});
    expect(g.nodes.length + g.edges.length).toBeLessThanOrEqual(OBJECTS_MAX);
    expect(g.edges.some((e) => e.id === 'lonely-1>lonely-2')).toBe(true);
    expect(g.edgesTotal).toBeGreaterThan(g.edges.length);
    expect(g.edges.length).toBeGreaterThan(g.nodes.length / 2);
  });
});

it('what lies between two fingers stays between them', () => {
  const old = { x: 100, y: 50, scale: 1 };
  const [from, to] = [
    { x: 10, y: -20 },
    { x: 40, y: 5 },
  ];
  const now = zoomed(old, 2, from, to);
  expect(now.scale).toBe(2);
  expect([now.x + to.x / now.scale, now.y + to.y / now.scale]).toEqual([old.x + from.x, old.y + from.y]);
});

it('arrows are wider with more, and never vanish', () => {
  expect(widthOf(0, 10)).toBe(widthOf(null, 10));
  expect(widthOf(10, 10)).toBeGreaterThan(widthOf(2, 10));
  expect(widthOf(1, 10)).toBeGreaterThan(1);
});

describe('places', () => {
  it('callers stand before those they call, also in a circle of calls', () => {
    const l = place(
      ['a', 'b', 'c'],
      [
        ['a', 'b'],
        ['b', 'c'],
        ['c', 'a'],
      ],
      [],
      1.7,
    );
    const x = (n: string) => l.places.get(n)?.x ?? 0;
    expect(x('a')).toBeLessThan(x('b'));
    expect(x('b')).toBeLessThan(x('c'));
  });

  it('nothing overlaps, though it does not hang together', () => {
    const nodes = Array.from({ length: 24 }, (_, i) => `node-${i}`);
    const pairs = nodes.filter((_, i) => i % 2 === 0).map((n, i): [string, string] => [n, nodes[i * 2 + 1] ?? n]);
    const l = place(nodes, pairs, [], 1.7);
    const at = [...l.places.values()];
    expect(at).toHaveLength(24);
    for (const a of at) for (const b of at) if (a !== b) expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(2 * RADIUS);
    expect(l.width / l.height).toBeGreaterThan(0.8);
  });

  it('who has no name has a place', () => {
    const l = place(
      ['', 'a', 'b'],
      [
        ['a', ''],
        ['b', 'a'],
      ],
      [['', 'b']],
      1.7,
    );
    expect(l.places.get('')?.x).toBeGreaterThan(0);
  });

  it('on a phone all stand in three columns, callers above', () => {
    const nodes = ['a', ...Array.from({ length: 7 }, (_, i) => `b${i}`)];
    const l = place(
      nodes,
      nodes.slice(1).map((b): [string, string] => ['a', b]),
      [],
      0.7,
    );
    expect(l.width).toBeLessThan(420);
    const at = [...l.places.values()];
    expect(Math.min(...at.map((p) => p.y))).toBe(l.places.get('a')?.y);
    for (const a of at) for (const b of at) if (a !== b) expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(60);
  });

  it('the two directions of a pair do not lie on each other', () => {
    const [a, b] = [
      { x: 0, y: 0 },
      { x: 200, y: 0 },
    ];
    const [there, back] = [arc(a, b), arc(b, a)];
    expect(Math.sign(there.label.y)).toBe(-Math.sign(back.label.y));
    expect(Math.hypot(there.label.x - back.label.x, there.label.y - back.label.y)).toBeGreaterThan(20);
  });

  it('long names keep their ends', () => {
    expect(shortLabel('recommendationservice')).toBe('recommendationservice');
    expect(shortLabel('a-very-long-name-of-some-workload-v2')).toMatch(/^a-very-long-….*workload-v2$/);
    expect(shortLabel('')).toBe('n/a');
    expect(shortLabel('recommendationservice', 16)).toBe('recommen…service');
  });
});
