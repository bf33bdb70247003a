import { IconChevronDown, IconChevronRight } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useCatalogue, useEdges } from '~/api/queries';
import type { Alert, EdgeQuery, Unit } from '~/api/types';
import { carry } from '~/app/search';
import type { View } from '~/app/view';
import { series } from '~/lib/edges';
import { all, equals } from '~/lib/filter';
import { instant, lasted, stepFor } from '~/lib/time';
import { grouped, unitOf } from '~/lib/units';
import { Chart } from '~/parts/chart/Chart';
import { HealthMark, Moment, Tag, Value } from '~/parts/marks';
import { Busy, Failure, Nothing } from '~/parts/states';
import css from './Alerts.module.css';

/** The past that is drawn before an alert begins, and after it ended. */
const BEFORE_MS = 600_000;
const AFTER_MS = 120_000;

/** The part of the range that an alert's chart shows, on window borders. */
function spanOf(alert: Alert, view: View): { from: Date; to: Date } {
  const since = Date.parse(alert.since);
  const end = alert.resolved_at ? Math.min(Date.parse(alert.resolved_at) + AFTER_MS, view.range.to.getTime()) : view.range.to.getTime();
  const floor = (ms: number) => new Date(Math.floor(ms / 10_000) * 10_000);
  return { from: floor(since - BEFORE_MS), to: floor(Math.max(end, since + 60_000)) };
}

/** What the alert fires on, as a filter. */
export function alertFilter(alert: Alert): string | undefined {
  return all(...Object.entries(alert.labels).map(([dim, value]) => equals(dim, value)));
}

/** Labels as people read them: both ends of a field as `a → b`, others by their value. */
export function labelWords(alert: Alert): [string, string][] {
  const { labels } = alert;
  const fields = ['workload', 'zone', 'node', 'pod', 'namespace'].filter((f) => `source.${f}` in labels && `dest.${f}` in labels);
  const pairs = fields.map((f): [string, string] => {
    const [a, b] = [labels[`source.${f}`] || 'n/a', labels[`dest.${f}`] || 'n/a'];
    return [f, a === b ? a : `${a} → ${b}`];
  });
  const others = Object.entries(labels).filter(([dim]) => !fields.some((f) => dim === `source.${f}` || dim === `dest.${f}`));
  return [...pairs, ...others.map(([dim, value]): [string, string] => [dim, value || 'n/a'])];
}

interface Props {
  alert: Alert;
  view: View;
  isOpen: boolean;
  onToggle: () => void;
}

/** An alert in a line; unfolded with its numbers and its chart. */
export function AlertRow({ alert, view, isOpen, onToggle }: Props) {
  const catalogue = useCatalogue().data;
  const histogram = catalogue?.signals.some((s) => s.name === alert.signal && s.kind === 'histogram');
  const measure = histogram ? `${alert.signal}.p95` : alert.signal;
  const unit = unitOf(measure, catalogue);
  const level = alert.state === 'firing' ? 'bad' : alert.state === 'pending' ? 'warn' : 'ok';
  const Chevron = isOpen ? IconChevronDown : IconChevronRight;
  return (
    <li id={`alert-${alert.id}`} className={css.alert} data-open={isOpen}>
      <button type="button" className={css.row} aria-expanded={isOpen} onClick={onToggle}>
        <Chevron size={14} aria-hidden="true" />
        <HealthMark level={level} why={alert.state} size={14} />
        <bdi className={css.summary}>{alert.summary}</bdi>
        <span className={css.reading}>
          <Value unit={unit} value={alert.value} measure={measure} />
        </span>
        <span className={css.since}>
          <Moment at={alert.since} />
        </span>
      </button>
      {isOpen && <Details alert={alert} view={view} measure={measure} unit={unit} />}
    </li>
  );
}

function Details({ alert, view, measure, unit }: { alert: Alert; view: View; measure: string; unit: Unit }) {
  const { from, to } = spanOf(alert, view);
  return (
    <div className={css.details}>
      <div className={css.text}>
        <div className={css.facts}>
          <Tag>
            <bdi>{alert.detector.replaceAll('_', ' ')}</bdi>
          </Tag>
          {labelWords(alert).map(([dim, words]) => (
            <Tag key={dim} title={dim}>
              <bdi className={css.label}>{words}</bdi>
            </Tag>
          ))}
        </div>
        <dl className={css.numbers}>
          <Reading label="value" unit={unit} measure={measure} value={alert.value} />
          <Reading label="threshold" unit={unit} measure={measure} value={alert.threshold} />
          <Reading
            label={`baseline${alert.baseline_s ? ` of ${lasted(alert.baseline_s)}` : ''}`}
            unit={unit}
            measure={measure}
            value={alert.baseline}
          />
          <div>
            <dt>samples</dt>
            <dd>{grouped(alert.samples)}</dd>
          </div>
        </dl>
        <div className={css.when}>
          <span>
            since <Moment at={alert.since} />
            {alert.fired_at && (
              <>
                , fired <Moment at={alert.fired_at} />
              </>
            )}
            {alert.resolved_at && (
              <>
                , resolved <Moment at={alert.resolved_at} />
              </>
            )}
          </span>
          <Link
            to="/edges"
            search={(s) => ({ compare: carry(s).compare, from: instant(from), to: instant(to), filter: alertFilter(alert) })}
          >
            Edges
          </Link>
          {alert.incident && (
            <Link to="/diagnose" search={(s) => ({ ...carry(s), incident: alert.incident ?? undefined })}>
              Incident
            </Link>
          )}
        </div>
      </div>
      <div className={css.chart}>
        <AlertChart alert={alert} measure={measure} unit={unit} from={from} to={to} />
      </div>
    </div>
  );
}

function Reading({ label, unit, measure, value }: { label: string; unit: Unit; measure: string; value: number | null | undefined }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>
        <Value unit={unit} value={value} measure={measure} />
      </dd>
    </div>
  );
}

/** The alert's own series with its threshold, baseline and period. */
function AlertChart({ alert, measure, unit, from, to }: { alert: Alert; measure: string; unit: Unit; from: Date; to: Date }) {
  const step = stepFor((to.getTime() - from.getTime()) / 1000);
  const filter = alertFilter(alert);
  const query: EdgeQuery = { from: instant(from), to: instant(to), group_by: [], measures: [measure], step_s: step };
  if (filter) query.filter = filter;
  const answer = useEdges(query);
  const table = answer.data;
  const row = table?.rows[0];
  if (answer.error) return <Failure error={answer.error} height={124} />;
  if (!table) return <Busy height={124} />;
  if (!row) return <Nothing height={124}>No data of it in this range.</Nothing>;
  const rules = [{ value: alert.threshold, label: 'threshold', kind: 'threshold' as const }];
  const baseline = alert.baseline;
  return (
    <Chart
      label={`${measure} of ${alert.summary}`}
      height={124}
      data={{
        kind: 'lines',
        unit,
        times: table.steps.map((s) => Date.parse(s)),
        stepS: step,
        from: from.getTime(),
        to: to.getTime(),
        series: [{ name: measure, values: series(table, row, measure), colour: 0 }],
        shades: [{ from: Date.parse(alert.since), to: alert.resolved_at ? Date.parse(alert.resolved_at) : to.getTime() }],
        rules:
          baseline === null || baseline === undefined
            ? rules
            : [...rules, { value: baseline, label: 'baseline', kind: 'baseline' as const }],
      }}
    />
  );
}
