import { Button, Popover, TextInput } from '@mantine/core';
import { IconClock } from '@tabler/icons-react';
import { useSearch } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';
import { COMPARES, instant, local, RANGES, rangeLabel, stepName, written } from '~/lib/time';
import type { Shared } from './search';
import css from './TopBar.module.css';
import { useView } from './view';

/** Range of time, live or paused, and what to compare with. */
export function TimePicker({
  opened,
  onChange,
  comparing,
}: {
  opened: boolean;
  onChange: (opened: boolean) => void;
  /** The view has numbers to compare. */
  comparing: boolean;
}) {
  const view = useView();
  const compare = (useSearch({ strict: false }) as Shared).compare;
  const { live } = view.range;
  const close = () => onChange(false);
  const pause = () => view.set({ from: instant(view.range.from), to: instant(view.range.to) });
  const resume = () => view.set({ from: view.fromText.startsWith('-') ? view.fromText : `-${stepName(view.seconds)}`, to: undefined });
  const compared = comparing && COMPARES.find((c) => c.value === compare)?.label;
  return (
    <div className={css.time}>
      <Popover opened={opened} onChange={onChange} position="bottom-start" trapFocus>
        <Popover.Target>
          <button
            type="button"
            className={css.range}
            onClick={() => onChange(!opened)}
            aria-haspopup="dialog"
            aria-expanded={opened}
            aria-label={`Time: ${rangeLabel(view.fromText, view.toText, view.range)}`}
            aria-keyshortcuts="t"
          >
            <IconClock size={15} stroke={1.8} aria-hidden="true" />
            {rangeLabel(view.fromText, view.toText, view.range)}
            {compared && <span className={css.compared}>vs {compared}</span>}
          </button>
        </Popover.Target>
        <Popover.Dropdown aria-label="Time range">
          <div className={css.panel}>
            <div>
              <p className={css.panelHead}>Last</p>
              <div className={css.presets}>
                {RANGES.map((from) => (
                  <button
                    key={from}
                    type="button"
                    className={css.preset}
                    aria-pressed={live && view.fromText === from}
                    onClick={() => {
                      view.set({ from, to: undefined });
                      close();
                    }}
                  >
                    {from.slice(1)}
                  </button>
                ))}
              </div>
            </div>
            <Custom key={`${view.fromText}${view.toText}`} onDone={close} />
            {comparing && (
              <div>
                <p className={css.panelHead}>Compare numbers with</p>
                <div className={css.two}>
                  <Compare label="nothing" value={undefined} chosen={compare} />
                  {COMPARES.map((c) => (
                    <Compare key={c.value} label={c.label} value={c.value} chosen={compare} />
                  ))}
                </div>
              </div>
            )}
          </div>
        </Popover.Dropdown>
      </Popover>
      <button
        type="button"
        className={css.live}
        data-live={live}
        onClick={live ? pause : resume}
        title={live ? 'New windows come in as they arrive. Press to hold this range.' : 'The range is held. Press to follow the clock.'}
      >
        <span className={css.dot} aria-hidden="true" />
        {live ? 'Live' : 'Paused'}
      </button>
      {view.range.wrong && (
        <span className={css.unread} role="alert">
          {view.range.wrong}
        </span>
      )}
    </div>
  );
}

function Compare({ label, value, chosen }: { label: string; value: string | undefined; chosen: string | undefined }) {
  const view = useView();
  return (
    <button type="button" className={css.preset} aria-pressed={chosen === value} onClick={() => view.set({ compare: value })}>
      {label}
    </button>
  );
}

function Custom({ onDone }: { onDone: () => void }) {
  const view = useView();
  const [from, setFrom] = useState(view.range.live ? view.fromText : local(view.range.from));
  const [to, setTo] = useState(view.range.live ? 'now' : local(view.range.to));
  const [wrong, setWrong] = useState<string>();
  const apply = (event: FormEvent) => {
    event.preventDefault();
    const now = new Date();
    const start = written(from, now);
    const end = written(to, now);
    if (!start) return setWrong(`cannot read '${from}': write -2h, 14:02 or 2026-01-31 14:02`);
    if (!end) return setWrong(`cannot read '${to}': write now, 14:02 or 2026-01-31 14:02`);
    if (start >= end) return setWrong('the range is empty: it ends before it starts');
    const keep = (text: string, at: Date) => (text.trim() === 'now' || text.trim().startsWith('-') ? text.trim() : instant(at));
    view.set({ from: keep(from, start), to: to.trim() === 'now' ? undefined : keep(to, end) });
    onDone();
  };
  return (
    <form className={css.custom} onSubmit={apply}>
      <div className={css.two}>
        <TextInput size="xs" label="From" value={from} onChange={(e) => setFrom(e.currentTarget.value)} />
        <TextInput size="xs" label="To" value={to} onChange={(e) => setTo(e.currentTarget.value)} />
      </div>
      {wrong && (
        <div className={css.filterNote} role="alert">
          {wrong}
        </div>
      )}
      <Button type="submit" size="xs" variant="default">
        Show this range
      </Button>
    </form>
  );
}
