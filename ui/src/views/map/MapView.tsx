import { Autocomplete, Button, SegmentedControl } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { IconSearch } from '@tabler/icons-react';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { type KeyboardEvent, useMemo, useRef, useState } from 'react';
import { useEdges, useStatus } from '~/api/queries';
import type { EdgesAnswer } from '~/api/types';
import type { MapSearch, Metric } from '~/app/search';
import { ask, useView } from '~/app/view';
import { idOf } from '~/lib/edges';
import { blindSpot } from '~/lib/health';
import { grouped, plural } from '~/lib/units';
import { PAIR, useGroups } from '~/parts/groups';
import { bdiOption } from '~/parts/marks';
import { Busy, Failure, NoAgents, Nothing } from '~/parts/states';
import { Canvas, type CanvasHandle } from './Canvas';
import { type Graph, graphOf } from './graph';
import { place } from './layout';
import css from './Map.module.css';
import { Panel } from './Panel';

const EDGES_MAX = 10_000;

const METRIC_CHOICES: { value: Metric; label: string }[] = [
  { value: 'bytes', label: 'Bytes' },
  { value: 'rtt', label: 'RTT p95' },
  { value: 'loss', label: 'Loss' },
  { value: 'connects', label: 'Connects failed' },
];

/** Who talks to whom, in layers from callers to called. */
export function MapView() {
  const view = useView();
  const search = useSearch({ from: '/map' }) as MapSearch;
  const navigate = useNavigate();
  const narrow = useMediaQuery('(max-width: 720px)') ?? false;
  const status = useStatus().data;
  const metric = search.metric ?? 'bytes';
  const { table, items: list, error } = useGroups(view, PAIR, EDGES_MAX);
  const roles = useEdges(
    ask(view, { group: [...PAIR, 'role'], measures: ['tcp.bytes'], filter: view.filter, sort: '-tcp.bytes', limit: EDGES_MAX }),
  ).data;
  const { workload, source, dest } = search;
  const graph = useMemo(() => graphOf(list, metric, { workload, source, dest }), [list, metric, workload, source, dest]);
  const calls = useMemo(() => callsOf(roles), [roles]);
  const shape = JSON.stringify([graph.nodes, graph.edges.map((e) => e.id).sort(), calls.size]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: numbers change with each window, places only with the shape.
  const layout = useMemo(() => {
    const pairs = graph.edges.map((e): [string, string] => [e.source, e.dest]);
    const known = pairs.filter(([a, b]) => calls.has(idOf([a, b])));
    const unknown = pairs.filter(([a, b]) => !calls.has(idOf([a, b])) && !calls.has(idOf([b, a])));
    return place(graph.nodes, known, unknown, narrow ? 0.7 : 1.7);
  }, [shape, narrow]);
  const canvas = useRef<CanvasHandle>(null);
  const [sought, setSought] = useState('');
  const set = (change: Partial<MapSearch>) => void navigate({ to: '/map', search: (s: MapSearch) => ({ ...s, ...change }) });
  const selected = workload !== undefined || (source !== undefined && dest !== undefined);
  const leave = () => set({ workload: undefined, source: undefined, dest: undefined });
  const seek = (name: string) => {
    setSought('');
    if (!canvas.current?.fly(name)) set({ workload: name, source: undefined, dest: undefined });
  };
  const onEnter = (event: KeyboardEvent) => {
    const typed = sought.trim().toLowerCase();
    if (event.key !== 'Enter' || typed === '') return;
    const meant = names.find((n) => n.toLowerCase() === typed) ?? names.find((n) => n.toLowerCase().includes(typed));
    if (meant !== undefined) seek(meant);
  };
  const names = useMemo(() => [...new Set(list.flatMap((i) => i.key))].filter((n) => n !== '').sort(), [list]);

  if (status && status.coverage.agents_expected === 0 && list.length === 0) return <NoAgents />;
  return (
    <div className={css.view}>
      <h1 className="off-page">Map</h1>
      <div className={css.tools}>
        <SegmentedControl
          size="xs"
          aria-label="What the arrows show"
          data={METRIC_CHOICES}
          value={metric}
          onChange={(m) => set({ metric: m === 'bytes' ? undefined : (m as Metric) })}
        />
        <Autocomplete
          size="xs"
          className={css.search}
          aria-label="Find a workload"
          placeholder="Find a workload"
          leftSection={<IconSearch size={14} />}
          data={names}
          limit={12}
          value={sought}
          onChange={setSought}
          onOptionSubmit={seek}
          onKeyDown={onEnter}
          renderOption={bdiOption}
        />
        {selected && (
          <Button size="compact-sm" variant="default" onClick={leave}>
            Show all
          </Button>
        )}
        <span className={css.counted}>{[counted(graph), table && blindSpot(table.coverage)].filter(Boolean).join(' · ')}</span>
      </div>
      {error ? (
        <Failure error={error} height={300} />
      ) : !table ? (
        <Busy height={300} />
      ) : graph.edges.length === 0 ? (
        <Nothing height={300}>
          {selected || view.filter
            ? 'No edge in this range is part of this selection.'
            : 'No edge was seen in this range: choose a longer one.'}
        </Nothing>
      ) : (
        <div className={css.stage}>
          <Canvas
            ref={canvas}
            graph={graph}
            layout={layout}
            metric={metric}
            narrow={narrow}
            subject={JSON.stringify([workload, source, dest, narrow])}
            halo={workload}
            onWorkload={(name) => set({ workload: name, source: undefined, dest: undefined })}
            onEdge={(e) => set({ source: e.source, dest: e.dest, workload: undefined })}
            onLeave={selected ? leave : undefined}
          />
          {selected && (
            <Panel graph={graph} selection={search} onWorkload={(name) => set({ workload: name, source: undefined, dest: undefined })} />
          )}
        </div>
      )}
    </div>
  );
}

/** Pairs in which the source opened the connections. */
function callsOf(roles: EdgesAnswer | undefined): Set<string> {
  const calls = new Set<string>();
  for (const row of roles?.rows ?? []) if (row.key[2] === 'client') calls.add(idOf(row.key.slice(0, 2)));
  return calls;
}

function counted({ nodes, nodesTotal, edges, edgesTotal, idle, selves }: Graph): string {
  const still =
    (idle > 0 ? `; ${plural(idle, 'edge')} without traffic not drawn` : '') +
    (selves > 0 ? `; ${plural(selves, 'edge')} of a workload with itself not drawn` : '');
  if (edges.length === edgesTotal) return `${plural(nodes.length, 'workload')}, ${plural(edges.length, 'edge')}${still}`;
  return `${grouped(edges.length)} of ${plural(edgesTotal, 'edge')} and ${grouped(nodes.length)} of ${plural(nodesTotal, 'workload')} drawn: the ill ones first, then the greatest${still}`;
}
