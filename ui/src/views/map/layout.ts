/** Places on the map: layers from callers to called, by dagre. Pure and slow (tens of milliseconds): call it when the graph changes, not its numbers. */
import { Graph as Dagre, layout } from '@dagrejs/dagre';

export interface Place {
  x: number;
  y: number;
}

export interface Layout {
  places: Map<string, Place>;
  width: number;
  height: number;
  /** Most letters of a label. */
  letters: number;
}

export const RADIUS = 17;
const LABEL_PX = 17;
/** Rough width of a letter of a label. */
const LETTER_PX = 6.4;
const LETTERS_MAX = 24;

/** A label as the map draws it: long names are cut in the middle, whose ends tell more. */
export function shortLabel(name: string, most = LETTERS_MAX): string {
  if (name.length <= most) return name || 'n/a';
  const head = Math.ceil(most / 2);
  return `${name.slice(0, head)}…${name.slice(head + 1 - most)}`;
}

/** Gap between parts of the map that do not hang together. */
const GAP_PX = 36;
/** On a phone: columns, their width, the way down to the next row of a layer and to the next layer, and letters of a label. */
const NARROW = { columns: 3, columnPx: 116, rowPx: 78, layerPx: 104, gapPx: 8, letters: 16 };

/**
 * @param calls pairs of client and server: the direction of the layers
 * @param others pairs whose direction is not known
 * @param aspect width to height of the place for the map
 */
export function place(nodes: string[], calls: [string, string][], others: [string, string][], aspect: number): Layout {
  const pairs = [...calls, ...others];
  const narrow = aspect < 1;
  const parts = components(nodes, pairs).map((members) => {
    const inside = new Set(members);
    const layered = layers(
      members,
      pairs.filter(([a]) => inside.has(a)),
      narrow,
    );
    return narrow ? wrapped(layered) : layered;
  });
  return packed(parts, aspect, narrow ? NARROW.gapPx : GAP_PX);
}

/** Sets of nodes that hang together, the greatest first. */
function components(nodes: string[], pairs: [string, string][]): string[][] {
  const near = new Map(nodes.map((n) => [n, [] as string[]]));
  for (const [a, b] of pairs) {
    near.get(a)?.push(b);
    near.get(b)?.push(a);
  }
  const seen = new Set<string>();
  const parts: string[][] = [];
  for (const node of nodes) {
    if (seen.has(node)) continue;
    const part: string[] = [];
    const next = [node];
    seen.add(node);
    for (let at = next.pop(); at !== undefined; at = next.pop()) {
      part.push(at);
      for (const peer of near.get(at) ?? []) {
        if (seen.has(peer) || !near.has(peer)) continue;
        seen.add(peer);
        next.push(peer);
      }
    }
    parts.push(part.sort());
  }
  return parts.sort((a, b) => b.length - a.length);
}

/** Dagre takes an empty name for none, and whoever could not be named has one. */
const keyOf = (name: string) => `n ${name}`;

function layers(nodes: string[], pairs: [string, string][], narrow: boolean): Layout {
  const graph = new Dagre({ directed: true });
  graph.setGraph({
    rankdir: narrow ? 'TB' : 'LR',
    nodesep: narrow ? 18 : 30,
    ranksep: narrow ? 70 : 132,
    marginx: 8,
    marginy: 8,
    ranker: 'network-simplex',
  });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) {
    const label = shortLabel(node).length * LETTER_PX;
    graph.setNode(keyOf(node), { width: Math.max(2 * RADIUS, label), height: 2 * RADIUS + LABEL_PX });
  }
  for (const [a, b] of pairs.map(([a, b]) => [keyOf(a), keyOf(b)] as const)) {
    if (graph.hasNode(a) && graph.hasNode(b) && !graph.hasEdge(b, a)) graph.setEdge(a, b);
  }
  layout(graph);
  const places = new Map<string, Place>();
  for (const node of nodes) {
    const { x = 0, y = 0 } = graph.node(keyOf(node)) as Partial<Place>;
    // The circle sits above its label.
    places.set(node, { x, y: y - LABEL_PX / 2 });
  }
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  return { places, width, height, letters: LETTERS_MAX };
}

/** Layers broken into rows of a few: a phone shows no more beside each other that can be read. */
function wrapped(layout: Layout): Layout {
  const layers = new Map<number, [string, Place][]>();
  for (const entry of layout.places) {
    const y = Math.round(entry[1].y);
    layers.set(y, [...(layers.get(y) ?? []), entry]);
  }
  const width = NARROW.columns * NARROW.columnPx;
  const places = new Map<string, Place>();
  let y = RADIUS + 8;
  for (const [, members] of [...layers].sort(([a], [b]) => a - b)) {
    members.sort(([, a], [, b]) => a.x - b.x);
    const rows = Math.ceil(members.length / NARROW.columns);
    const each = Math.ceil(members.length / rows);
    for (let row = 0; row < rows; row += 1) {
      const inRow = members.slice(row * each, (row + 1) * each);
      for (const [i, [name]] of inRow.entries()) places.set(name, { x: (width * (i + 0.5)) / inRow.length, y });
      y += row < rows - 1 ? NARROW.rowPx : NARROW.layerPx;
    }
  }
  return { places, width, height: y - NARROW.layerPx + RADIUS + LABEL_PX + 8, letters: NARROW.letters };
}

/** Parts beside and below each other on shelves, in about the shape of the page. */
function packed(parts: Layout[], aspect: number, gap: number): Layout {
  const area = parts.reduce((sum, p) => sum + (p.width + gap) * (p.height + gap), 0);
  const shelf = Math.max(Math.sqrt(area * aspect), parts[0]?.width ?? 0);
  const places = new Map<string, Place>();
  let [x, y, deep, wide] = [gap, gap, 0, 0];
  for (const part of parts) {
    if (x > gap && x + part.width > shelf + gap) {
      x = gap;
      y += deep + gap;
      deep = 0;
    }
    for (const [node, at] of part.places) places.set(node, { x: at.x + x, y: at.y + y });
    x += part.width + gap;
    deep = Math.max(deep, part.height);
    wide = Math.max(wide, x);
  }
  return { places, width: wide, height: y + deep + gap, letters: parts[0]?.letters ?? LETTERS_MAX };
}

export interface Arc {
  /** SVG path from rim to rim. */
  path: string;
  /** Where its sign and number stand: nearer to where it begins, so that those of the two directions keep apart. */
  label: Place;
}

/** How far an arrow bends away from the straight line, so that the two directions of a pair stay apart. */
const BEND = 0.11;
/** Room for the arrow's head before the rim. */
const HEAD_PX = 4;

/** The arrow of one direction; the other direction's bends to the other side by itself. */
export function arc(a: Place, b: Place): Arc {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = Math.hypot(dx, dy) || 1;
  const bend = Math.max(12, Math.min(length * BEND, 46));
  const [nx, ny] = [-dy / length, dx / length];
  const control = { x: (a.x + b.x) / 2 + nx * bend * 2, y: (a.y + b.y) / 2 + ny * bend * 2 };
  const start = towards(a, control, RADIUS + 2);
  const end = towards(b, control, RADIUS + HEAD_PX);
  return {
    path: `M${fixed(start)}Q${fixed(control)} ${fixed(end)}`,
    label: along(start, control, end, 0.42),
  };
}

function towards(from: Place, to: Place, px: number): Place {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  return { x: from.x + ((to.x - from.x) / length) * px, y: from.y + ((to.y - from.y) / length) * px };
}

function along(a: Place, c: Place, b: Place, t: number): Place {
  const u = 1 - t;
  return { x: u * u * a.x + 2 * u * t * c.x + t * t * b.x, y: u * u * a.y + 2 * u * t * c.y + t * t * b.y };
}

const fixed = (p: Place) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`;
