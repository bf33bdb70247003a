import { ActionIcon } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { IconMaximize, IconMinus, IconPlus } from '@tabler/icons-react';
import { type KeyboardEvent, type Ref, useImperativeHandle, useMemo, useState } from 'react';
import type { Metric } from '~/app/search';
import { LEVEL_WORD, type Level } from '~/lib/health';
import { exact, show } from '~/lib/units';
import { type Graph, type MapEdge, MEASURE, widthOf } from './graph';
import { arc, type Layout, RADIUS, shortLabel } from './layout';
import css from './Map.module.css';
import { usePan } from './pan';

export interface CanvasHandle {
  /** Brings a workload to the middle and focuses it; false if it is not drawn. */
  fly: (name: string) => boolean;
}

interface Props {
  ref: Ref<CanvasHandle>;
  graph: Graph;
  layout: Layout;
  metric: Metric;
  /** On a phone. */
  narrow: boolean;
  /** What the map is of. */
  subject: string;
  halo: string | undefined;
  onWorkload: (name: string) => void;
  onEdge: (edge: MapEdge) => void;
  onLeave: (() => void) | undefined;
}

const UNIT = { bytes: 'bytes', rtt: 'seconds', loss: 'ratio', connects: 'ratio' } as const;
/** With more arrows, numbers are shown for the ill and the touched ones only; on a phone for the touched ones. */
const LABELS_MAX = 70;
const LABELS_MAX_NARROW = 8;
/** A map that is drawn for a phone is no longer than this. */
const NARROW_PX_MAX = 1600;

export function Canvas({ ref, graph, layout, metric, narrow, subject, halo, onWorkload, onEdge, onLeave }: Props) {
  const size = useElementSize<HTMLDivElement>();
  const [lit, setLit] = useState<string>();
  const pan = usePan(layout, size.width, size.height, subject);
  const top = useMemo(() => Math.max(0, ...graph.edges.map((e) => e.item.value(MEASURE[metric]) ?? 0)), [graph, metric]);
  useImperativeHandle(ref, () => ({
    fly: (name) => {
      const at = layout.places.get(name);
      if (!at) return false;
      pan.centre(at);
      document.getElementById(nodeId(graph.nodes.indexOf(name)))?.focus({ preventScroll: true });
      return true;
    },
  }));
  const touches = (e: MapEdge) => lit === undefined || lit === e.id || lit === e.source || lit === e.dest;
  // Ill arrows lie over healthy ones.
  const edges = [...graph.edges].sort((a, b) => a.item.health.score - b.item.health.score);
  const numbered = (e: MapEdge) => {
    if (graph.edges.length <= (narrow ? LABELS_MAX_NARROW : LABELS_MAX)) return true;
    return (e.item.health.level === 'bad' && !narrow) || (lit !== undefined && touches(e));
  };
  // As long as its width makes it: the page scrolls through it.
  const long = narrow ? Math.min(NARROW_PX_MAX, (layout.height / Math.max(1, layout.width)) * size.width + 60) : undefined;
  return (
    <div ref={size.ref} className={css.canvas} style={long ? { minHeight: long } : undefined}>
      {size.width > 0 && (
        <svg
          ref={pan.ref}
          className={css.svg}
          viewBox={pan.viewBox}
          {...pan.handlers}
          onKeyDown={(e: KeyboardEvent) => e.key === 'Escape' && onLeave?.()}
          role="group"
          aria-label="Map of workloads and edges"
        >
          <Heads />
          {edges.map((e) => (
            <Arrow
              key={e.id}
              edge={e}
              layout={layout}
              metric={metric}
              top={top}
              faint={!touches(e)}
              onPick={() => onEdge(e)}
              onLit={(on) => setLit(on ? e.id : undefined)}
            />
          ))}
          {edges.map((e) => (
            <Reading key={e.id} edge={e} layout={layout} metric={metric} faint={!touches(e)} numbered={numbered(e)} />
          ))}
          {graph.nodes.map((name, i) => (
            <Node
              key={name}
              id={nodeId(i)}
              name={name}
              layout={layout}
              halo={name === halo}
              faint={lit !== undefined && lit !== name && !edges.some((e) => touches(e) && (e.source === name || e.dest === name))}
              onPick={() => onWorkload(name)}
              onLit={(on) => setLit(on ? name : undefined)}
            />
          ))}
        </svg>
      )}
      <div className={css.zoom}>
        <ActionIcon variant="default" aria-label="Closer" onClick={() => pan.zoom(1.3)}>
          <IconPlus size={15} />
        </ActionIcon>
        <ActionIcon variant="default" aria-label="Farther" onClick={() => pan.zoom(1 / 1.3)}>
          <IconMinus size={15} />
        </ActionIcon>
        <ActionIcon variant="default" aria-label="Show the whole map" onClick={pan.fit}>
          <IconMaximize size={15} />
        </ActionIcon>
      </div>
      <p className={css.fingers}>Two fingers move and zoom the map.</p>
      <Legend />
    </div>
  );
}

const nodeId = (index: number) => `map-node-${index}`;

/** Enter and space press what looks like a button but is a part of a picture. */
function pressed(act: () => void) {
  return (event: KeyboardEvent) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    act();
  };
}

function Heads() {
  return (
    <defs>
      {(['ok', 'unknown', 'warn', 'bad'] as const).map((level) => (
        <marker
          key={level}
          id={`head-${level}`}
          className={css.head}
          data-level={level}
          viewBox="0 0 8 8"
          refX="6.5"
          refY="4"
          markerWidth="9"
          markerHeight="9"
          markerUnits="userSpaceOnUse"
          orient="auto"
        >
          <path d="M0 0.8 8 4 0 7.2Z" />
        </marker>
      ))}
    </defs>
  );
}

interface ArrowProps {
  edge: MapEdge;
  layout: Layout;
  metric: Metric;
  top: number;
  faint: boolean;
  onPick: () => void;
  onLit: (on: boolean) => void;
}

function Arrow({ edge, layout, metric, top, faint, onPick, onLit }: ArrowProps) {
  const from = layout.places.get(edge.source);
  const to = layout.places.get(edge.dest);
  if (!from || !to) return null;
  const { path } = arc(from, to);
  const { level, why } = edge.item.health;
  const value = edge.item.value(MEASURE[metric]);
  const unit = UNIT[metric];
  const words = `${edge.source || 'n/a'} to ${edge.dest || 'n/a'}: ${show(unit, value)}, ${why || LEVEL_WORD[level]}`;
  return (
    <g
      className={css.edge}
      data-level={level}
      data-faint={faint}
      role="button"
      tabIndex={0}
      aria-label={words}
      onClick={onPick}
      onKeyDown={pressed(onPick)}
      onMouseEnter={() => onLit(true)}
      onMouseLeave={() => onLit(false)}
      onFocus={() => onLit(true)}
      onBlur={() => onLit(false)}
    >
      <title>{`${words} (${exact(unit, value)})`}</title>
      <path className={css.touch} d={path} />
      <path className={css.line} d={path} strokeWidth={widthOf(value, top)} markerEnd={`url(#head-${level})`} />
    </g>
  );
}

/** An arrow's sign and number, over all arrows. */
function Reading({
  edge,
  layout,
  metric,
  faint,
  numbered,
}: Pick<ArrowProps, 'edge' | 'layout' | 'metric' | 'faint'> & { numbered: boolean }) {
  const from = layout.places.get(edge.source);
  const to = layout.places.get(edge.dest);
  const { level } = edge.item.health;
  const signed = level === 'bad' || level === 'warn';
  if (!from || !to || (!numbered && !signed)) return null;
  const { label } = arc(from, to);
  const text = numbered ? show(UNIT[metric], edge.item.value(MEASURE[metric])) : '';
  const shift = signed && numbered ? 9 : 0;
  return (
    <g className={css.mark} data-level={level} data-faint={faint} aria-hidden="true">
      {numbered && (
        <rect
          className={css.plate}
          x={label.x + shift - text.length * 2.95 - (signed ? 19 : 5)}
          y={label.y - 9}
          width={text.length * 5.9 + (signed ? 24 : 10)}
          height={18}
          rx={5}
        />
      )}
      {numbered && (
        <text className={css.value} x={label.x + shift} y={label.y} dy="0.34em">
          {text}
        </text>
      )}
      <Sign level={level} x={label.x + shift - (numbered ? text.length * 2.95 + 10 : 0)} y={label.y} />
    </g>
  );
}

/** What colour says, said by shape: a cross for bad, a triangle for degraded. */
function Sign({ level, x, y }: { level: Level; x: number; y: number }) {
  if (level === 'bad') {
    return (
      <g className={css.sign} transform={`translate(${x} ${y})`}>
        <circle r="6.5" />
        <path d="M-2.4-2.4 2.4 2.4M2.4-2.4-2.4 2.4" />
      </g>
    );
  }
  if (level === 'warn') {
    return (
      <g className={css.sign} transform={`translate(${x} ${y})`}>
        <path className={css.triangle} d="M0-6.5 6.8 5.5H-6.8Z" />
        <path d="M0-2.2V1.6M0 3.4V3.6" />
      </g>
    );
  }
  return null;
}

interface NodeProps {
  id: string;
  name: string;
  layout: Layout;
  halo: boolean;
  faint: boolean;
  onPick: () => void;
  onLit: (on: boolean) => void;
}

function Node({ id, name, layout, halo, faint, onPick, onLit }: NodeProps) {
  const at = layout.places.get(name);
  if (!at) return null;
  const label = shortLabel(name, layout.letters);
  return (
    <g
      id={id}
      className={css.node}
      data-faint={faint}
      transform={`translate(${at.x} ${at.y})`}
      role="button"
      tabIndex={0}
      aria-label={`Workload ${name || 'n/a'}${label === (name || 'n/a') ? '' : `, shown as ${label}`}`}
      aria-pressed={halo}
      onClick={onPick}
      onKeyDown={pressed(onPick)}
      onMouseEnter={() => onLit(true)}
      onMouseLeave={() => onLit(false)}
      onFocus={() => onLit(true)}
      onBlur={() => onLit(false)}
    >
      <title>{name || 'n/a'}</title>
      {halo && <circle className={css.halo} r={RADIUS + 8} />}
      <circle className={css.ring} r={RADIUS + 4} />
      <circle className={css.disc} r={RADIUS} />
      <text className={css.name} y={RADIUS + 14}>
        {label}
      </text>
    </g>
  );
}

function Legend() {
  return (
    <ul className={css.legend} aria-label="Legend">
      {(['bad', 'warn', 'ok', 'unknown'] as const).map((level) => (
        <li key={level}>
          <svg width="30" height="14" viewBox="0 0 30 14" aria-hidden="true">
            <g className={css.edge} data-level={level}>
              <path className={css.line} d="M1 7H29" strokeWidth="2" />
              <Sign level={level} x={15} y={7} />
            </g>
          </svg>
          {LEVEL_WORD[level]}
        </li>
      ))}
    </ul>
  );
}
