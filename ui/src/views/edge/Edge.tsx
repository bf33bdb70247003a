import { Button } from '@mantine/core';
import { IconArrowsExchange } from '@tabler/icons-react';
import { Link, useParams } from '@tanstack/react-router';
import { Fragment, useMemo } from 'react';
import { useAlerts, useEdges } from '~/api/queries';
import type { Alert, EdgeQuery, EdgesAnswer } from '~/api/types';
import { carry } from '~/app/search';
import { ask, useView, type View } from '~/app/view';
import { items } from '~/lib/edges';
import { all, equals } from '~/lib/filter';
import { LEVEL_WORD } from '~/lib/health';
import { instant } from '~/lib/time';
import { plural } from '~/lib/units';
import { ChartCard } from '~/parts/ChartCard';
import type { Shade } from '~/parts/chart/types';
import { EndWhy } from '~/parts/EndWhy';
import { PAIR } from '~/parts/groups';
import { HealthMark, Name, Tag } from '~/parts/marks';
import { useShades } from '~/parts/shades';
import { Busy, Failure, Nothing } from '~/parts/states';
import { Asked } from './Asked';
import { BothEnds } from './BothEnds';
import { Breakdown } from './Breakdown';
import css from './Edge.module.css';
import { ABOUT, beforeOf, EDGE_MEASURES, isQuiet, linesOf, PLANS } from './plans';
import { TimeBar } from './TimeBar';

const NO_ALERTS: Alert[] = [];

/** Everything about one edge. */
export function Edge() {
  const { source, dest } = useParams({ from: '/edges/$source/$dest' });
  const view = useView();
  const filter = all(view.filter, equals('source.workload', source), equals('dest.workload', dest));
  const query = ask(view, { group: PAIR, measures: EDGE_MEASURES, filter, step: view.step, compare: true });
  const answer = useEdges(query);
  const alerts = useAlerts(view.range).data?.alerts ?? NO_ALERTS;
  const shades = useShades(view);
  const item = useMemo(() => items(answer.data, alerts)[0], [answer.data, alerts]);
  return (
    <>
      <header className={css.head}>
        <h1 className={css.title}>
          {item && <HealthMark level={item.health.level} why={item.health.why} size={20} />}
          <span className={css.end}>
            <Name text={source} />
            <EndWhy end="source" name={source} filter={filter} />
          </span>
          <span className={css.arrow}>→</span>
          <span className={css.end}>
            <Name text={dest} />
            <EndWhy end="dest" name={dest} filter={filter} />
          </span>
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
            )}{' '}
            {item.alerts.map((a) => (
              <Link key={a.id} className={css.alert} to="/alerts" search={(s) => ({ ...carry(s), alert: a.id })}>
                <bdi>{a.detector.replaceAll('_', ' ')}</bdi>
              </Link>
            ))}
          </p>
        )}
      </header>
      {answer.error ? (
        <Failure error={answer.error} height={200} />
      ) : !answer.data ? (
        <Busy height={200} />
      ) : !item ? (
        <Nothing height={200}>
          Nothing went from <bdi>{source}</bdi> to <bdi>{dest}</bdi> in this range{view.filter ? ' that passes the filter' : ''}.
        </Nothing>
      ) : (
        <>
          <div className={css.summary}>
            <BothEnds item={item} />
            <TimeBar item={item} />
          </div>
          <Charts view={view} query={query} table={answer.data} shades={shades} workload={source} />
        </>
      )}
      <Breakdown view={view} filter={filter} />
    </>
  );
}

interface ChartsProps {
  view: View;
  query: EdgeQuery;
  table: EdgesAnswer;
  shades: Shade[];
  /** The edge's source. */
  workload: string;
}

/** All charts by what they are about; those that would show nothing are named only. */
function Charts({ view, query, table, shades, workload }: ChartsProps) {
  const { compare } = view;
  const shifted = compare && { ...query, from: instant(compare.from), to: instant(compare.to), compare_from: null, compare_to: null };
  const before = useEdges(shifted).data;
  const drawn = PLANS.map((plan) => ({ plan, series: linesOf(plan, table) }));
  const quiet = drawn.filter((d) => isQuiet(d.plan, d.series));
  const zoom = (from: Date, to: Date) => view.set({ from: instant(from), to: instant(to) });
  return (
    <>
      {ABOUT.map((about) => {
        const shown = drawn.filter((d) => d.plan.about === about && !quiet.includes(d));
        return (
          shown.length > 0 && (
            <Fragment key={about}>
              <section className={css.about} aria-label={about}>
                <h2>{about}</h2>
                <div className={css.charts}>
                  {shown.map(({ plan, series }) => {
                    const own = { ...query, measures: [...new Set(plan.lines.flatMap((l) => [l.measure, ...(l.less ?? [])]))] };
                    return (
                      <ChartCard
                        key={plan.title}
                        title={plan.title}
                        subtitle={plan.subtitle}
                        queries={[own]}
                        data={{
                          kind: plan.kind,
                          unit: plan.unit,
                          times: table.steps.map((s) => Date.parse(s)),
                          stepS: table.step_s ?? view.step,
                          from: view.range.from.getTime(),
                          to: view.range.to.getTime(),
                          series: [...series, ...beforeOf(plan, table, before)],
                          shades,
                        }}
                        sync="edge"
                        height={132}
                        legend={6}
                        onZoom={zoom}
                      />
                    );
                  })}
                </div>
              </section>
              {about === 'DNS' && <Asked view={view} workload={workload} />}
            </Fragment>
          )
        );
      })}
      {quiet.length > 0 && <p className={css.quiet}>Nothing in this range: {quiet.map((d) => d.plan.title).join(' · ')}</p>}
    </>
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
        <Tag key={p}>
          <bdi>{p}</bdi>
        </Tag>
      ))}
      {ports.length > 3 && <Tag>{plural(ports.length - 3, 'more port')}</Tag>}
      {roles.length > 0 && (
        <Tag title="which end opened the connections">
          {roles.length > 1 ? 'opened by both' : roles[0] === 'client' ? 'source opens' : 'destination opens'}
        </Tag>
      )}
      {spaces.slice(0, 2).map((s) => (
        <Tag key={s} title="namespace">
          <bdi>{s}</bdi>
        </Tag>
      ))}
    </div>
  );
}
