/** Small pieces that all views share. Health never speaks by colour alone: each level has its own icon and word. */
import { IconAlertOctagonFilled, IconAlertTriangleFilled, IconCircleCheckFilled, IconCircleDashed } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import type { Unit } from '~/api/types';
import type { Level } from '~/lib/health';
import { LEVEL_WORD } from '~/lib/health';
import { clock, utc } from '~/lib/time';
import { change, exact, show, showMeasure } from '~/lib/units';
import css from './marks.module.css';

const ICONS = { bad: IconAlertOctagonFilled, warn: IconAlertTriangleFilled, ok: IconCircleCheckFilled, unknown: IconCircleDashed };

/** A level's icon with its word for those who do not see it. */
export function HealthMark({ level, why, size = 16 }: { level: Level; why?: string | undefined; size?: number }) {
  const Icon = ICONS[level];
  const words = why ? `${LEVEL_WORD[level]}: ${why}` : LEVEL_WORD[level];
  return (
    <span className={css.health} data-level={level} title={words} role="img" aria-label={words}>
      <Icon size={size} aria-hidden="true" />
    </span>
  );
}

/** A moment in the reader's zone, UTC on hover. */
export function Moment({ at, now }: { at: string | Date; now?: Date }) {
  const date = typeof at === 'string' ? new Date(at) : at;
  return (
    <time dateTime={date.toISOString()} title={utc(date)} className={css.number}>
      {clock(date, now)}
    </time>
  );
}

/** A value in a unit for the reader, exact on hover. */
export function Value({ unit, value, measure }: { unit: Unit; value: number | null | undefined; measure?: string }) {
  return (
    <span className={css.number} title={exact(unit, value)}>
      {measure ? showMeasure(measure, unit, value) : show(unit, value)}
    </span>
  );
}

/** How a value changed against the compared range; `more` says whether more of it is worse. */
export function Delta({
  value,
  before,
  unit,
  worse,
}: {
  value: number | null | undefined;
  before: number | null | undefined;
  unit: Unit;
  worse?: boolean;
}) {
  const words = change(value, before);
  if (!words) return null;
  const rose = (value ?? 0) > (before ?? 0);
  const far = words.includes('×') || words === 'new' || Math.abs((value ?? 0) / (before || 1) - 1) > 0.25;
  const tone = far && worse ? (rose ? 'bad' : 'ok') : 'plain';
  return (
    <span className={css.delta} data-tone={tone} title={`before: ${exact(unit, before)}`}>
      {words === '±0' ? words : `${rose ? '▲' : '▼'} ${words}`}
    </span>
  );
}

/** A short word with a border. */
export function Tag({ children, tone = 'plain', title }: { children: ReactNode; tone?: Level | 'plain' | 'accent'; title?: string }) {
  return (
    <span className={css.tag} data-tone={tone} title={title}>
      {children}
    </span>
  );
}

/** A name from telemetry: one line, cut by the page, whole on hover. */
export function Name({ text, strong }: { text: string; strong?: boolean }) {
  return text ? (
    <bdi className={css.name} data-strong={strong} title={text}>
      {text}
    </bdi>
  ) : (
    <span className={css.absent} title="unknown">
      n/a
    </span>
  );
}

/** A key on the keyboard. */
export function Key({ children }: { children: string }) {
  return <kbd className={css.key}>{children}</kbd>;
}

/** A choice whose words may hold names from telemetry. */
export const bdiOption = ({ option }: { option: { label?: string; value: string } }) => <bdi>{option.label ?? option.value}</bdi>;
