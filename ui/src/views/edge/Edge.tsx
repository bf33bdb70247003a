import { Button } from '@mantine/core';
import { IconArrowsExchange } from '@tabler/icons-react';
import { Link, useParams } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useAlerts, useEdges } from '~/api/queries';
import type { EdgeQuery } from '~/api/types';
import { carry } from '~/app/search';
import { ask, useView, type View } from '~/app/view';
import { items } from '~/lib/edges';
import { all, equals } from '~/lib/filter';
import { LEVEL_WORD } from '~/lib/health';
import { instant } from '~/lib/time';
import { plural } from '~/lib/units';
import { ChartCard } from '~/parts/ChartCard';
import { HealthMark, Name, Tag } from '~/parts/marks';
import { useShades } from '~/parts/shades';
import { Busy, Failure, Nothing } from '~/parts/states';
import { BothEnds } from './BothEnds';
import { Breakdown } from './Breakdown';
import css from './Edge.module.css';
import { EDGE_MEASURES, linesOf, PLANS } from './plans';
import { TimeBar } from './TimeBar';

const PAIR = ['source.workload', 'dest.workload'];

/** Everything about one edge. */
export function Edge() {
  const { source, dest } = useParams({ from: '/edges/$source/$dest' });
  const view = useView();
  const filter = all(view.filter, equals('source.workload', source), equals('dest.workload', dest));
  const query = ask(view, { group: PAIR, measures: EDGE_MEASURES, filter, step: view.step, compare: true });
  const answer = useEdges(query);
  const alerts = useAlerts(view.range).data;
  const shades = useShades(view);
  const own = answer.data?.rows[0]?.key.join('\u0000') === `${source}\u0000${dest}` ? answer.data : undefined;
  const item = useMemo(() => items(own, alerts ?? [])[0], [own, alerts]);
  return (
    <>
      <header className={css.head}>
        <h1 className={css.title}>
          {item && <HealthMark level={item.health.level} why={item.health.why} size={20} />}
          <Name text={source} />
          <span className={css.arrow}>→</span>
          <Name text={dest} />
        </h1>
        <Facts view={view} filter={filter} />
        <div className={css.links}>
          <Button
            size="compact-sm"
            variant="default"
            leftSection={<IconArrowsExchange size={14} />}
            renderRoot={(p) => <Link to="/edges/$source/$dest" params={{ source: dest, dest: source }} search={carry} {...p} />}
          >
            Other direction
          </Button>
          <Button
            size="compact-sm"
            variant="default"
            renderRoot={(p) => <Link to="/map" search={(s) => ({ ...carry(s), source, dest })} {...p} />}
          >
            On the map
          </Button>
        </div>
        {item && item.health.level !== 'ok' && (
          <p className={css.why}>
            {LEVEL_WORD[item.health.level]}
            {item.health.why && (
              <>
                : <bdi>{item.health.why}</bdi>
              </>
            )}
          </p>
        )}
      </header>
      {answer.error ? (
        <Failure error={answer.error} height={200} />
      ) : !answer.data ? (
        <Busy height={200} />
      ) : !own || !item ? (
        answer.isPlaceholderData ? (
          <Busy height={200} />
        ) : (
          <Nothing height={200}>
            Nothing went from {source} to {dest} in this range.
          </Nothing>
        )
      ) : (
        <>
          <div className={css.summary}>
            <BothEnds item={item} />
            <TimeBar item={item} />
          </div>
          <Charts view={view} query={query} table={own} shades={shades} />
        </>
      )}
      <Breakdown view={view} filter={filter} />
    </>
  );
}

function Charts({
  view,
  query,
  table,
  shades,
}: {
  view: View;
  query: EdgeQuery;
  table: Parameters<typeof linesOf>[1];
  shades: ReturnType<typeof useShades>;
}) {
  return (
    <div className={css.charts}>
      {PLANS.map((plan) => (
        <ChartCard
          key={plan.title}
          title={plan.title}
          subtitle={plan.subtitle}
          query={{ ...query, measures: [...new Set(plan.lines.flatMap((l) => [l.measure, ...(l.less ?? [])]))] }}
          data={{
            kind: plan.kind,
            unit: plan.unit,
            times: table.steps.map((s) => Date.parse(s)),
            stepS: table.step_s ?? view.step,
            from: view.range.from.getTime(),
            to: view.range.to.getTime(),
            series: linesOf(plan, table),
            shades,
          }}
          sync="edge"
          height={132}
          legend={6}
          onZoom={(from, to) => view.set({ from: instant(from), to: instant(to) })}
        />
      ))}
    </div>
  );
}

/** Ports, roles and namespaces of the edge in short. */
function Facts({ view, filter }: { view: View; filter: string | undefined }) {
  const rows =
    useEdges(
      ask(view, {
        group: ['protocol', 'port', 'role', 'source.namespace', 'dest.namespace'],
        measures: ['tcp.bytes'],
        filter,
        sort: '-tcp.bytes',
        limit: 20,
      }),
    ).data?.rows ?? [];
  const ports = [...new Set(rows.map((r) => `${r.key[0]} ${r.key[1]}`))];
  const roles = [...new Set(rows.map((r) => r.key[2]))];
  const spaces = [...new Set(rows.map((r) => (r.key[3] === r.key[4] ? r.key[3] : `${r.key[3] || 'n/a'} → ${r.key[4] || 'n/a'}`)))].filter(
    (s) => s,
  );
  return (
    <div className={css.facts}>
      {ports.slice(0, 3).map((p) => (
        <Tag key={p}>{p}</Tag>
      ))}
      {ports.length > 3 && <Tag>{plural(ports.length - 3, 'more port')}</Tag>}
      {roles.length > 0 && (
        <Tag title="which end opened the connections">
          {roles.length > 1 ? 'opened by both' : roles[0] === 'client' ? 'source opens' : 'destination opens'}
        </Tag>
      )}
      {spaces.slice(0, 2).map((s) => (
        <Tag key={s} title="namespace">
          {s}
        </Tag>
      ))}
    </div>
  );
}
