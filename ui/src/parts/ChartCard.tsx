import { ActionIcon, Menu } from '@mantine/core';
import { IconDots, IconFileTypeCsv, IconTerminal2 } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { token } from '~/api/client';
import type { EdgeQuery } from '~/api/types';
import { useScheme } from '~/app/scheme';
import { asRequests, toCsv } from '~/lib/export';
import { colour } from '~/lib/palette';
import { stepName } from '~/lib/time';
import css from './Card.module.css';
import { Chart } from './chart/Chart';
import type { ChartData, Series } from './chart/types';
import { copy, download } from './copy';
import { Busy, Failure, Nothing } from './states';

interface Props {
  title: string;
  subtitle: ReactNode;
  data: ChartData | undefined;
  /** The queries behind it: the same numbers by as many calls. */
  queries: EdgeQuery[];
  height?: number;
  sync?: string | undefined;
  lit?: string | undefined;
  onLit?: ((name: string | undefined) => void) | undefined;
  onZoom?: ((from: Date, to: Date) => void) | undefined;
  error?: Error | null;
  loading?: boolean;
  /** Names of the series under the chart: how many before `and n more`. */
  legend?: number;
  children?: ReactNode;
}

/** A chart in its card: title, roll-up, subtitle, menu, names of its series. */
export function ChartCard({
  title,
  subtitle,
  data,
  queries,
  height = 168,
  sync,
  lit,
  onLit,
  onZoom,
  error,
  loading,
  legend = 4,
  children,
}: Props) {
  const measured = data?.series.some((s) => s.values.some((v) => v !== null)) ?? false;
  return (
    <section className={css.card} aria-label={title}>
      <header className={css.head}>
        <div className={css.titles}>
          <h3 className={css.title}>
            <span>{title}</span>
            {data && (
              <span className={css.badge} title={`each point sums up ${stepName(data.stepS)}`}>
                {stepName(data.stepS)}
              </span>
            )}
          </h3>
          <p className={css.subtitle}>{subtitle}</p>
        </div>
        <ChartMenu title={title} data={data} queries={queries} />
      </header>
      {error ? (
        <Failure error={error} height={height} />
      ) : !data ? (
        <Busy height={height} />
      ) : !measured && !loading ? (
        <Nothing height={height}>No data in this range.</Nothing>
      ) : (
        <Chart data={data} height={height} label={describe(title, data)} sync={sync} lit={lit} onLit={onLit} onZoom={onZoom} />
      )}
      {data && measured && legend > 0 && <Legend series={data.series} most={legend} lit={lit} onLit={onLit} />}
      {children}
    </section>
  );
}

function describe(title: string, data: ChartData): string {
  const names = data.series.slice(0, 3).map((s) => s.name);
  const more = data.series.length > 3 ? ` and ${data.series.length - 3} more` : '';
  return `${title}, ${data.kind === 'lines' ? 'lines' : 'stacked columns'} over time: ${names.join(', ')}${more}`;
}

function Legend({ series, most, lit, onLit }: { series: Series[]; most: number; lit: string | undefined; onLit: Props['onLit'] }) {
  const { dark } = useScheme();
  const [whole, setWhole] = useState(false);
  const hidden = whole ? 0 : Math.max(0, series.length - most);
  return (
    <ul className={css.legend}>
      {series.slice(0, series.length - hidden).map((s) => (
        <li
          key={s.name}
          className={css.legendItem}
          data-faint={lit !== undefined && lit !== s.name}
          onMouseEnter={() => onLit?.(s.name)}
          onMouseLeave={() => onLit?.(undefined)}
        >
          <span className={css.swatch} style={{ background: s.colour === 'grey' ? 'var(--series-rest)' : colour(s.colour, dark) }} />
          <bdi className={css.legendName} title={s.name}>
            {s.name}
          </bdi>
        </li>
      ))}
      {(hidden > 0 || whole) && (
        <li>
          <button type="button" className={css.legendMore} onClick={() => setWhole(!whole)}>
            {whole ? 'fewer' : `and ${hidden} more`}
          </button>
        </li>
      )}
    </ul>
  );
}

function ChartMenu({ title, data, queries }: { title: string; data: ChartData | undefined; queries: EdgeQuery[] }) {
  const calls = () => asRequests(queries, location.origin, token.get() !== null);
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <ActionIcon className="no-print" variant="subtle" color="gray" size="sm" aria-label={`${title}: more`}>
          <IconDots size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>The same numbers</Menu.Label>
        <Menu.Item
          leftSection={<IconTerminal2 size={15} />}
          onClick={() => copy(calls(), queries.length > 1 ? 'API calls copied' : 'API call copied')}
        >
          {queries.length > 1 ? 'Copy as API calls (curl)' : 'Copy as API call (curl)'}
        </Menu.Item>
        {data && (
          <Menu.Item leftSection={<IconFileTypeCsv size={15} />} onClick={() => download(`${title}.csv`, toCsv(data), 'text/csv')}>
            Download CSV
          </Menu.Item>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
