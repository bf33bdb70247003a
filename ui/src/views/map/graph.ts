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
  /** Edges without a byte and without a word on their health: not drawn, but not unsaid. */
  idle: number;
  /** Edges of a workload with itself: an arrow from a circle to itself would tell nothing. */
  selves: number;
}

export const MEASURE: Record<Metric, string> = {
  bytes: 'tcp.bytes',
  rtt: 'tcp.rtt.p95',
  loss: 'tcp.retrans_rate',
  connects: 'tcp.connect_failure_rate',
};

const RANK: Record<Level, number> = { bad: 2, warn: 1, ok: 0, unknown: 0 };

export interface Selection {
  workload?: string | undefined;
  source?: string | undefined;
  dest?: string | undefined;
}

/** Share of the room that ill edges may take before what connects them is added. */
const ILL_SHARE = 0.75;

/** The edges to draw: those of the selection; if they are too many, the ill ones first, then the greatest that hang together with what is drawn. */
export function graphOf(items: EdgeItem[], metric: Metric, selection: Selection): Graph {
  const all = items.map((item): MapEdge => ({ id: item.id, source: item.key[0] ?? '', dest: item.key[1] ?? '', item }));
  const within = all.filter((e) => chosen(e, selection));
  const meant = within.filter((e) => e.source !== e.dest);
  const went = (e: MapEdge) => ['tcp.bytes', 'udp.bytes'].some((m) => (e.item.value(m) ?? 0) > 0);
  const wanted = meant.filter((e) => e.item.health.level !== 'unknown' || went(e));
  const value = (e: MapEdge) => e.item.value(MEASURE[metric]) ?? -1;
  const order = [...wanted].sort((a, b) => RANK[b.item.health.level] - RANK[a.item.health.level] || value(b) - value(a));
  const drawing = new Drawing();
  for (const edge of order) if (RANK[edge.item.health.level] > 0) drawing.add(edge, OBJECTS_MAX * ILL_SHARE);
  const waiting = order.filter((e) => !drawing.has(e)).sort((a, b) => value(b) - value(a));
  while (waiting.length > 0) {
    const next = waiting.findIndex((e) => drawing.touches(e));
    const [edge] = waiting.splice(Math.max(0, next), 1);
    if (!edge || !drawing.add(edge, OBJECTS_MAX)) break;
  }
  if (selection.workload !== undefined && wanted.length > 0) drawing.nodes.add(selection.workload);
  const totals = new Set(wanted.flatMap((e) => [e.source, e.dest]));
  return {
    nodes: [...drawing.nodes].sort(),
    edges: drawing.edges,
    nodesTotal: totals.size,
    edgesTotal: wanted.length,
    idle: meant.length - wanted.length,
    selves: within.length - meant.length,
  };
}

/** What is drawn so far, and whether more has room. */
class Drawing {
  readonly nodes = new Set<string>();
  readonly edges: MapEdge[] = [];
  private readonly ids = new Set<string>();

  has(edge: MapEdge): boolean {
    return this.ids.has(edge.id);
  }

  touches(edge: MapEdge): boolean {
    return this.nodes.has(edge.source) || this.nodes.has(edge.dest);
  }

  add(edge: MapEdge, most: number): boolean {
    const grown = Number(!this.nodes.has(edge.source)) + Number(!this.nodes.has(edge.dest));
    if (this.nodes.size + this.edges.length + grown + 1 > most) return false;
    this.nodes.add(edge.source).add(edge.dest);
    this.edges.push(edge);
    this.ids.add(edge.id);
    return true;
  }
}

function chosen(edge: MapEdge, { workload, source, dest }: Selection): boolean {
  if (source !== undefined && dest !== undefined)
    return (edge.source === source && edge.dest === dest) || (edge.source === dest && edge.dest === source);
  if (workload !== undefined) return edge.source === workload || edge.dest === workload;
  return true;
}

/** Pixels of an arrow's width: by the share of the greatest, on a root scale, since traffic spreads over decades. */
export function widthOf(value: number | null | undefined, top: number): number {
  if (!value || top <= 0) return 1.25;
  return 1.25 + 3.75 * Math.sqrt(Math.min(1, value / top));
}
