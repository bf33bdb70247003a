import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { useEdges } from '~/api/queries';
import type { Alert, EdgesAnswer } from '~/api/types';
import { carry } from '~/app/search';
import { ask, type View } from '~/app/view';
import { type EdgeItem, series } from '~/lib/edges';
import type { Level } from '~/lib/health';
import { stepName } from '~/lib/time';
import { change, grouped, plural, show } from '~/lib/units';
import { HealthMark } from '~/parts/marks';
import { Sparkline } from '~/parts/Sparkline';
import css from './Home.module.css';

interface Props {
  view: View;
  table: EdgesAnswer | undefined;
  items: EdgeItem[];
  alerts: Alert[] | undefined;
}

/** The two navigators' tiles: how much runs, how much of it is ill, and its pulse. */
export function Tiles({ view, table, items, alerts }: Props) {
  const pulse = useEdges(
    ask(view, {
      group: [],
      measures: ['tcp.bytes', 'tcp.active.rate', 'tcp.bytes.rate'],
      filter: view.filter,
      step: view.step,
      compare: true,
    }),
  ).data;
  const row = pulse?.rows[0];
  const line = (measure: string) => (pulse && row ? series(pulse, row, measure) : []);
  const total = (measure: string) => row?.totals[pulse?.measures.indexOf(measure) ?? -1];
  // Against the compared range; nothing where none is.
  const changed = (measure: string) => {
    const words = change(total(measure), row?.compare?.[pulse?.measures.indexOf(measure) ?? -1]);
    return words ? ` (${words})` : '';
  };
  const workloads = byWorkload(items);
  const firing = (alerts ?? []).filter((a) => a.state === 'firing');
  const resolution = table ? `Data resolution is ${stepName(table.resolution_s)}` : '';
  return (
    <div className={css.tiles}>
      <Tile
        to="/edges"
        title="Network edges"
        count={table?.groups_total}
        word="running edges"
        levels={countLevels(items.map((i) => i.health.level))}
        alerts={firing.length}
        note={resolution}
        pulse={`Traffic ${show('bytes', total('tcp.bytes.rate'))}/s${changed('tcp.bytes.rate')}`}
      >
        <Sparkline values={line('tcp.bytes')} width={220} height={44} tone="accent" label="Traffic over the range" />
      </Tile>
      <Tile
        to="/map"
        title="Network workloads"
        count={table ? workloads.size : undefined}
        word="running workloads"
        levels={countLevels([...workloads.values()])}
        alerts={workloadsOf(firing).size}
        alertWord="with alerts"
        note={resolution}
        pulse={`${show('count', total('tcp.active.rate'))} open connections${changed('tcp.active.rate')}`}
      >
        <Sparkline values={line('tcp.active.rate')} width={220} height={44} tone="accent" label="Open connections over the range" />
      </Tile>
    </div>
  );
}

interface TileProps {
  to: '/edges' | '/map';
  title: string;
  count: number | undefined;
  word: string;
  levels: Record<Level, number>;
  alerts: number;
  alertWord?: string;
  note: string;
  pulse: string;
  children: ReactNode;
}

function Tile({ to, title, count, word, levels, alerts, alertWord, note, pulse, children }: TileProps) {
  return (
    <Link to={to} search={carry} className={css.tile}>
      <div className={css.tileTop}>
        <h2 className={css.tileTitle}>{title}</h2>
        <span className={css.tileNote}>{note}</span>
      </div>
      <div className={css.tileMain}>
        <div>
          <div className={css.big}>{count === undefined ? '–' : grouped(count)}</div>
          <div className={css.tileWord}>{word}</div>
        </div>
        <div className={css.pulse}>
          {children}
          <span className={css.tileNote}>{pulse}</span>
        </div>
      </div>
      <div className={css.tileFoot}>
        <span className={css.alerts} data-some={alerts > 0}>
          {alertWord ? `${grouped(alerts)} ${alertWord}` : plural(alerts, 'alert')}
        </span>
        {(['bad', 'warn', 'ok', 'unknown'] as const).map(
          (level) =>
            levels[level] > 0 && (
              <span key={level} className={css.level}>
                <HealthMark level={level} size={13} /> {grouped(levels[level])}
              </span>
            ),
        )}
      </div>
    </Link>
  );
}

function countLevels(levels: Level[]): Record<Level, number> {
  const counts: Record<Level, number> = { bad: 0, warn: 0, ok: 0, unknown: 0 };
  for (const level of levels) counts[level] += 1;
  return counts;
}

const RANK: Level[] = ['unknown', 'ok', 'warn', 'bad'];

/** A workload is as ill as its worst edge. */
function byWorkload(items: EdgeItem[]): Map<string, Level> {
  const worst = new Map<string, Level>();
  for (const { key, health } of items) {
    for (const name of key)
      if (RANK.indexOf(health.level) > RANK.indexOf(worst.get(name) ?? 'unknown') || !worst.has(name)) worst.set(name, health.level);
  }
  return worst;
}

function workloadsOf(alerts: Alert[]): Set<string> {
  return new Set(
    alerts.flatMap((a) => [a.labels['source.workload'], a.labels['dest.workload']]).filter((w): w is string => w !== undefined),
  );
}
