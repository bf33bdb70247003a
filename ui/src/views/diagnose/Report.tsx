import { Button } from '@mantine/core';
import { IconCopy, IconFileDownload, IconPrinter } from '@tabler/icons-react';
import { useCatalogue } from '~/api/queries';
import type { Incident, Verdict } from '~/api/types';
import type { View } from '~/app/view';
import { markdown } from '~/lib/report';
import { instant, lasted } from '~/lib/time';
import { plural, show } from '~/lib/units';
import { headline, sinceOf } from '~/lib/words';
import { copy, download } from '~/parts/copy';
import { Moment } from '~/parts/marks';
import { TONE_ICON } from '~/parts/tones';
import css from './Diagnose.module.css';
import { Hit } from './Hit';
import { Hypotheses } from './Hypotheses';
import { Numbers } from './Numbers';
import { Seen } from './Seen';
import { Since } from './Since';

/** A verdict with all that speaks for it. */
export function Report({ verdict, incident, view }: { verdict: Verdict; incident: Incident | undefined; view: View }) {
  const { tone, answer, what } = headline(verdict);
  const Icon = TONE_ICON[tone];
  const since = incident ? sinceOf(incident) : verdict.since;
  const end = incident ? (incident.closed_at ? Date.parse(incident.closed_at) : Date.now()) : Date.parse(verdict.to);
  return (
    <article className={css.report}>
      <header className={css.verdict} data-tone={tone}>
        <Icon size={26} className={css.icon} aria-hidden="true" />
        <div className={css.body}>
          <p className={css.answer}>
            {[answer, ...what].map((w) => (
              <bdi key={w}>{w}</bdi>
            ))}
          </p>
          <p className={css.sentence}>
            <bdi>{verdict.summary}</bdi>
          </p>
          <dl className={css.facts}>
            {since && (
              <div>
                <dt>Since</dt>
                <dd>
                  <Moment at={since} />{' '}
                  <span>
                    {incident?.closed_at ? 'lasted' : 'for'} {lasted((end - Date.parse(since)) / 1000)}
                  </span>
                </dd>
              </div>
            )}
            <div>
              <dt>Confidence</dt>
              <dd>{verdict.verdict === 'insufficient_evidence' ? 'none' : show('ratio', verdict.confidence)}</dd>
            </div>
            <div>
              <dt>Looked at</dt>
              <dd>
                {plural(verdict.edges, 'path')}{' '}
                <span>
                  from <Moment at={verdict.from} /> to <Moment at={verdict.to} />
                </span>
              </dd>
            </div>
            {incident?.diagnosed_at && (
              <div>
                <dt>{incident.closed_at ? 'Last judged' : 'Judged'}</dt>
                <dd>
                  <Moment at={incident.diagnosed_at} />
                </dd>
              </div>
            )}
          </dl>
        </div>
        <Take verdict={verdict} incident={incident} view={view} />
      </header>
      <Since verdict={verdict} incident={incident} view={view} since={since ?? undefined} />
      {verdict.hypotheses.length > 0 && <Hypotheses verdict={verdict} />}
      <div className={`${css.two} ${css.uneven}`}>
        <Hit verdict={verdict} />
        <Numbers verdict={verdict} />
      </div>
      <Seen verdict={verdict} />
    </article>
  );
}

/** The verdict to take away. */
function Take({ verdict, incident, view }: { verdict: Verdict; incident: Incident | undefined; view: View }) {
  const catalogue = useCatalogue().data;
  const link = () => {
    const url = new URL(location.href);
    if (incident) url.searchParams.set('incident', incident.id);
    url.searchParams.set('from', instant(view.range.from));
    url.searchParams.set('to', instant(view.range.to));
    return url.toString();
  };
  return (
    <div className={`${css.take} no-print`}>
      <Button
        size="compact-sm"
        variant="default"
        leftSection={<IconCopy size={14} />}
        onClick={() => copy(markdown(verdict, catalogue, link()), 'Report copied')}
      >
        Copy as Markdown
      </Button>
      <Button
        size="compact-sm"
        variant="default"
        leftSection={<IconFileDownload size={14} />}
        onClick={() => download(`verdict-${incident?.id ?? verdict.to}.json`, `${JSON.stringify(verdict, null, 2)}\n`, 'application/json')}
      >
        JSON
      </Button>
      <Button size="compact-sm" variant="default" leftSection={<IconPrinter size={14} />} onClick={() => print()}>
        Print
      </Button>
    </div>
  );
}
