import { Button, Tooltip } from '@mantine/core';
import { IconPlugConnectedX } from '@tabler/icons-react';
import { Link, useLocation } from '@tanstack/react-router';
import { useStatus } from '~/api/queries';
import { carry, stringifySearch } from '~/app/search';
import { useView, type View } from '~/app/view';
import { clock, instant } from '~/lib/time';
import { plural } from '~/lib/units';
import { suspectFilter } from '~/lib/words';
import { copy, plainLine } from '~/parts/copy';
import { Moment } from '~/parts/marks';
import { TONE_ICON } from '~/parts/tones';
import css from './Banner.module.css';
import { type BannerState, bannerState } from './state';

/** The answer, on every view; larger and with its sentence on the first. Where the verdict's own page says it all, it keeps to the line. */
export function Banner() {
  const { data: status, error, dataUpdatedAt } = useStatus();
  const view = useView();
  const path = useLocation({ select: (l) => l.pathname });
  if (!status && !error) return <div className={css.banner} data-tone="unknown" />;
  if (error) return <Unreachable since={dataUpdatedAt} reason={error.message} />;
  if (!status) return null;
  const state = bannerState(status, Date.now());
  const home = path === '/';
  const brief = path === '/diagnose';
  const Icon = TONE_ICON[state.tone];
  const sentence = home ? state.incident?.verdict?.summary : undefined;
  return (
    <>
      {/* Only what is new is read out: counts and times change with each window. */}
      <span className="off-page" role="status">
        {[state.answer, ...state.what].join(', ')}
      </span>
      <section
        className={brief ? `${css.banner} no-print` : css.banner}
        data-tone={state.tone}
        data-large={home}
        data-folds={state.incident?.verdict ? true : undefined}
        aria-label="Verdict"
      >
        <Icon className={css.icon} size={home ? 22 : 17} aria-hidden="true" />
        <div className={css.body}>
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
            {(!brief || !state.incident) &&
              state.details.map((d) => (
                <bdi key={d} className={css.detail}>
                  {d}
                </bdi>
              ))}
            {state.others > 0 && (
              <span className={css.others}>
                <Link to="/alerts" search={carry}>
                  {plural(state.others, 'more incident')} open
                </Link>
              </span>
            )}
          </div>
          {sentence && (
            <p className={css.sentence}>
              <bdi>{sentence}</bdi>
            </p>
          )}
          {state.incident && <Actions state={state} view={view} why={!brief} />}
        </div>
      </section>
    </>
  );
}

/** A period around the incident, with some healthy past before it. */
function around(state: BannerState, view: View) {
  const since = Date.parse(state.since ?? '');
  if (Number.isNaN(since)) return {};
  const past = Math.max(300_000, view.range.to.getTime() - since);
  return { from: instant(new Date(since - past)), to: instant(view.range.to) };
}

function Actions({ state, view, why }: { state: BannerState; view: View; why: boolean }) {
  const verdict = state.incident?.verdict;
  const filter = verdict ? suspectFilter(verdict) : undefined;
  const range = around(state, view);
  const incident = state.incident?.id;
  const share = () => {
    const url = new URL('/diagnose', location.origin);
    url.search = stringifySearch({ incident, ...range });
    const parts = [state.answer.toUpperCase(), ...state.what, ...(state.since ? [`since ${clock(new Date(state.since))}`] : [])];
    void copy(`${plainLine(parts.join(' · '))}\n${url}`, 'Link copied');
  };
  return (
    <div className={`${css.actions} no-print`}>
      {why && (
        <Button
          size="compact-sm"
          variant="default"
          renderRoot={(props) => <Link to="/diagnose" search={(s) => ({ ...carry(s), incident })} {...props} />}
        >
          Why
        </Button>
      )}
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
          <bdi className={css.detail}>{reason}</bdi>
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
