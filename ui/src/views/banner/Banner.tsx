import { Button, Tooltip } from '@mantine/core';
import {
  IconAlertOctagonFilled,
  IconAlertTriangleFilled,
  IconCircleCheckFilled,
  IconEyeOff,
  IconInfoCircleFilled,
  IconPlugConnectedX,
} from '@tabler/icons-react';
import { Link, useLocation } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { useStatus } from '~/api/queries';
import { carry, stringifySearch } from '~/app/search';
import { useView, type View } from '~/app/view';
import { clock, instant } from '~/lib/time';
import { borderFilter } from '~/lib/words';
import { copy } from '~/parts/copy';
import { Moment } from '~/parts/marks';
import css from './Banner.module.css';
import { type BannerState, bannerState, type Tone } from './state';

const ICONS: Record<Tone, typeof IconEyeOff> = {
  bad: IconAlertOctagonFilled,
  warn: IconAlertTriangleFilled,
  info: IconInfoCircleFilled,
  unknown: IconEyeOff,
  ok: IconCircleCheckFilled,
};

/** The answer, on every view; larger and with its sentence on the first. */
export function Banner() {
  const { data: status, error, dataUpdatedAt } = useStatus();
  const view = useView();
  const home = useLocation({ select: (l) => l.pathname === '/' });
  if (!status && !error) return <div className={css.banner} data-tone="unknown" />;
  if (error) return <Unreachable since={dataUpdatedAt} reason={error.message} />;
  if (!status) return null;
  const state = bannerState(status, Date.now());
  const sentence = home ? state.verdict?.summary : undefined;
  return (
    <Strip tone={state.tone} large={home}>
      <div className={css.line}>
        <strong className={css.answer}>{state.answer}</strong>
        {state.what.map((w) => (
          <bdi key={w} className={css.what}>
            {w}
          </bdi>
        ))}
        {state.since && (
          <span className={css.what}>
            since <Moment at={state.since} />
          </span>
        )}
        {state.details.map((d) => (
          <bdi key={d} className={css.detail}>
            {d}
          </bdi>
        ))}
      </div>
      {sentence && <p className={css.sentence}>{sentence}</p>}
      {state.incident && <Actions state={state} view={view} />}
    </Strip>
  );
}

function Strip({ tone, large, children }: { tone: Tone; large?: boolean; children: ReactNode }) {
  const Icon = ICONS[tone];
  return (
    <section className={css.banner} data-tone={tone} data-large={large} aria-label="Verdict" aria-live="polite">
      <Icon className={css.icon} size={large ? 22 : 17} aria-hidden="true" />
      <div className={css.body}>{children}</div>
    </section>
  );
}

/** A period around the incident, with some healthy past before it. */
function around(state: BannerState, view: View) {
  const since = Date.parse(state.since ?? '');
  if (Number.isNaN(since)) return {};
  const past = Math.max(300_000, view.range.to.getTime() - since);
  return { from: instant(new Date(since - past)), to: instant(view.range.to) };
}

function Actions({ state, view }: { state: BannerState; view: View }) {
  const filter = state.verdict ? borderFilter(state.verdict.culprit) : undefined;
  const range = around(state, view);
  const share = () => {
    const url = new URL('/diagnose', location.origin);
    url.search = stringifySearch({ incident: state.incident, ...range });
    const parts = [state.answer.toUpperCase(), ...state.what, ...(state.since ? [`since ${clock(new Date(state.since))}`] : [])];
    void copy(`${parts.join(' · ')}\n${url}`, 'Link copied');
  };
  return (
    <div className={`${css.actions} no-print`}>
      <Button
        size="compact-sm"
        variant="default"
        renderRoot={(props) => <Link to="/diagnose" search={(s) => ({ ...carry(s), incident: state.incident })} {...props} />}
      >
        Why
      </Button>
      {filter && (
        <Button
          size="compact-sm"
          variant="default"
          renderRoot={(props) => <Link to="/edges" search={(s) => ({ ...carry(s), ...range, filter, sort: '-health' })} {...props} />}
        >
          Who else
        </Button>
      )}
      <Tooltip label="Copies the verdict and a link that shows the same to everyone">
        <Button size="compact-sm" variant="default" onClick={share}>
          Share
        </Button>
      </Tooltip>
    </div>
  );
}

function Unreachable({ since, reason }: { since: number; reason: string }) {
  return (
    <section className={css.banner} data-tone="unknown" role="alert">
      <IconPlugConnectedX className={css.icon} size={17} aria-hidden="true" />
      <div className={css.body}>
        <div className={css.line}>
          <strong className={css.answer}>Cannot say</strong>
          <span className={css.detail}>{reason}</span>
          {since > 0 && (
            <span className={css.detail}>
              what you see is from <Moment at={new Date(since)} />
            </span>
          )}
        </div>
      </div>
    </section>
  );
}
