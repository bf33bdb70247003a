/** From the table of edges to what the map draws: never more than can be read. */
import type { Metric } from '~/app/search';
import type { EdgeItem } from '~/lib/edges';
import type { Level } from '~/lib/health';

/** Circles and arrows at once: beyond it a map is a hairball. */
export const OBJECTS_MAX = 200;

export interface MapEdge {
  id: string;
  source: string;
  dest: string;
  item: EdgeItem;
}

export interface Graph {
  nodes: string[];
  edges: MapEdge[];
  /** What there is, drawn or not. */
  nodesTotal: number;
  edgesTotal: number;
}

export const MEASURE: Record<Metric, string> = { bytes: 'tcp.bytes', rtt: 'tcp.rtt.p95', loss: 'tcp.retrans_rate' };

const RANK: Record<Level, number> = { bad: 2, warn: 1, ok: 0, unknown: 0 };

export interface Selection {
  workload?: string | undefined;
  source?: string | undefined;
  dest?: string | undefined;
}

/** The edges to draw: those of the selection, the ill before the healthy, then by the metric. */
export function graphOf(items: EdgeItem[], metric: Metric, selection: Selection): Graph {
  const all = items.map((item): MapEdge => ({ id: item.id, source: item.key[0] ?? '', dest: item.key[1] ?? '', item })).filter((e) => e.source !== e.dest);
  const wanted = all.filter((e) => chosen(e, selection));
  const order = [...wanted].sort((a, b) => RANK[b.item.health.level] - RANK[a.item.health.level] || (b.item.value(MEASURE[metric]) ?? -1) - (a.item.value(MEASURE[metric]) ?? -1));
  const nodes = new Set<string>();
  if (selection.workload !== undefined && all.some((e) => e.source === selection.workload || e.dest === selection.workload)) nodes.add(selection.workload);
  const edges: MapEdge[] = [];
  for (const edge of order) {
    const grown = Number(!nodes.has(edge.source)) + Number(!nodes.has(edge.dest));
    if (nodes.size + edges.length + grown + 1 > OBJECTS_MAX) continue;
    nodes.add(edge.source).add(edge.dest);
    edges.push(edge);
  }
  const totals = new Set(wanted.flatMap((e) => [e.source, e.dest]));
  return { nodes: [...nodes].sort(), edges, nodesTotal: totals.size, edgesTotal: wanted.length };
}

function chosen(edge: MapEdge, { workload, source, dest }: Selection): boolean {
  if (source !== undefined && dest !== undefined) return (edge.source === source && edge.dest === dest) || (edge.source === dest && edge.dest === source);
  if (workload !== undefined) return edge.source === workload || edge.dest === workload;
  return true;
}

/** Pixels of an arrow's width: by the share of the greatest, on a root scale, since traffic spreads over decades. */
export function widthOf(value: number | null | undefined, top: number): number {
  if (!value || top <= 0) return 1.25;
  return 1.25 + 3.75 * Math.sqrt(Math.min(1, value / top));
}
