import { Link } from '@tanstack/react-router';
import type { MapSearch } from '~/app/search';
import { carry } from '~/app/search';
import { all, any, equals } from '~/lib/filter';
import { HealthMark, Name, Value } from '~/parts/marks';
import type { Graph, MapEdge } from './graph';
import css from './Map.module.css';

interface Props {
  graph: Graph;
  selection: MapSearch;
  onWorkload: (name: string) => void;
}

/** What is selected, in numbers, and the ways on. */
export function Panel({ graph, selection, onWorkload }: Props) {
  const { workload } = selection;
  if (workload === undefined) {
    return (
      <aside className={css.panel} aria-label="Selection">
        {graph.edges.map((e) => (
          <Side key={e.id} edge={e} onWorkload={onWorkload} />
        ))}
      </aside>
    );
  }
  const groups = [
    { title: 'Sends to', edges: graph.edges.filter((e) => e.source === workload), peer: (e: MapEdge) => e.dest },
    { title: 'Receives from', edges: graph.edges.filter((e) => e.dest === workload), peer: (e: MapEdge) => e.source },
  ];
  return (
    <aside className={css.panel} aria-label="Selection">
      <h2>
        <Name text={workload} />
      </h2>
      <p className={css.ways}>
        <Link
          to="/edges"
          search={(s) => ({
            ...carry(s),
            filter: all(carry(s).filter, any([equals('source.workload', workload), equals('dest.workload', workload)])),
          })}
        >
          Its edges
        </Link>
        {workload !== '' && (
          <Link to="/diagnose" search={(s) => ({ ...carry(s), workload, ask: 'range' as const })}>
            Diagnose it
          </Link>
        )}
      </p>
      {groups.map(({ title, edges, peer }) => (
        <section key={title}>
          <h3>
            {title} <span>{edges.length}</span>
          </h3>
          <ul>
            {edges.map((e) => (
              <li key={e.id}>
                <HealthMark level={e.item.health.level} why={e.item.health.why} size={13} />
                <button type="button" onClick={() => onWorkload(peer(e))}>
                  <Name text={peer(e)} />
                </button>
                <Value unit="bytes" value={e.item.value('tcp.bytes')} />
              </li>
            ))}
          </ul>
        </section>
      ))}
    </aside>
  );
}

const NUMBERS = [
  { label: 'Bytes', measure: 'tcp.bytes', unit: 'bytes' },
  { label: 'UDP bytes', measure: 'udp.bytes', unit: 'bytes' },
  { label: 'RTT p95', measure: 'tcp.rtt.p95', unit: 'seconds' },
  { label: 'Retransmitted', measure: 'tcp.retrans_rate', unit: 'ratio' },
  { label: 'Connects failed', measure: 'tcp.connect_failure_rate', unit: 'ratio' },
] as const;

/** One direction of a selected pair. */
function Side({ edge, onWorkload }: { edge: MapEdge; onWorkload: (name: string) => void }) {
  const { item, source, dest } = edge;
  return (
    <section>
      <h2>
        <HealthMark level={item.health.level} why={item.health.why} />
        <button type="button" onClick={() => onWorkload(source)}>
          <Name text={source} />
        </button>
        <span>→</span>
        <button type="button" onClick={() => onWorkload(dest)}>
          <Name text={dest} />
        </button>
      </h2>
      {item.health.why && (
        <p className={css.why}>
          <bdi>{item.health.why}</bdi>
        </p>
      )}
      <dl>
        {NUMBERS.filter((n) => n.measure !== 'udp.bytes' || item.value(n.measure)).map((n) => (
          <div key={n.measure}>
            <dt>{n.label}</dt>
            <dd>
              <Value unit={n.unit} value={item.value(n.measure)} />
            </dd>
          </div>
        ))}
      </dl>
      {source && dest && (
        <p className={css.ways}>
          <Link to="/edges/$source/$dest" params={{ source, dest }} search={carry}>
            All charts
          </Link>
        </p>
      )}
    </section>
  );
}
