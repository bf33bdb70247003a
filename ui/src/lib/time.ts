/** Time as it stands in the address, as the API wants it and as people read it. */

export const RANGES = ['-1m', '-5m', '-15m', '-1h', '-3h', '-12h', '-1d', '-7d', '-31d'] as const;
export const DEFAULT_TO = 'now';
/** The range of a page whose address names none; of a server that has just begun to see, so that its first minutes are not a sliver. */
const DEFAULT_FROM = '-15m';
const YOUNG_FROM = '-5m';
const YOUNG_S = 900;

export const defaultFrom = (uptimeS: number | undefined) => (uptimeS !== undefined && uptimeS < YOUNG_S ? YOUNG_FROM : DEFAULT_FROM);

/** What is shown where the address cannot be read. */
const FALLBACK_S = 900;

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };
const WINDOW_MS = 10_000;
const MINUTE_MS = 60_000;
/** Ranges up to here are answered by rows of ten seconds. */
const FINE_MS = 2 * 3600_000;
/** Agents ship a window some seconds after its end; a live view ends before the window that is still arriving. */
const ARRIVAL_MS = 5_000;

export interface Range {
  from: Date;
  to: Date;
  /** Follows the clock. */
  live: boolean;
  /** What of the address could not be read. */
  wrong?: string | undefined;
}

/** Seconds of `-2h30m` or `15m`; undefined if it is no such text. */
export function parseDistance(text: string): number | undefined {
  const body = text.startsWith('-') ? text.slice(1) : text;
  if (!/^(\d+[smhd])+$/.test(body)) return undefined;
  let seconds = 0;
  for (const [, number, unit] of body.matchAll(/(\d+)([smhd])/g)) seconds += Number(number) * (UNITS[unit ?? ''] ?? 0);
  return seconds > 0 ? seconds : undefined;
}

/** Reads `now`, `-15m` or an RFC 3339 moment. */
export function parseMoment(text: string, now: Date): Date | undefined {
  if (text === 'now') return now;
  const distance = text.startsWith('-') ? parseDistance(text) : undefined;
  if (distance !== undefined) return new Date(now.getTime() - distance * 1000);
  if (!/^\d{4}-\d\d-\d\dT/.test(text)) return undefined;
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? undefined : at;
}

/** `2026-11-22 14:02:30` in the reader's zone. */
export function local(at: Date): string {
  const shifted = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return shifted.toISOString().slice(0, 19).replace('T', ' ');
}

/** What people write: `-2h`, `now`, an RFC 3339 moment, or date and time in their own zone. */
export function written(text: string, now: Date): Date | undefined {
  const trimmed = text.trim();
  const direct = parseMoment(trimmed, now);
  if (direct) return direct;
  const match = /^(?:(\d{4}-\d\d-\d\d)[ T])?(\d?\d:\d\d(?::\d\d)?)$/.exec(trimmed);
  if (!match) return undefined;
  const [, date, time = ''] = match;
  const at = new Date(`${date ?? local(now).slice(0, 10)}T${time.padStart(time.length < 6 ? 5 : 8, '0')}`);
  return Number.isNaN(at.getTime()) ? undefined : at;
}

/** The newest moment a live view shows. */
export function liveEnd(now: Date): Date {
  return new Date(Math.floor((now.getTime() - ARRIVAL_MS) / WINDOW_MS) * WINDOW_MS);
}

/** The range that the address means now, on window borders; the default where it means none. */
export function resolveRange(from: string, to: string, now: Date): Range {
  const last = liveEnd(now);
  const asked = to === 'now' ? last : parseMoment(to, to.startsWith('-') ? last : now);
  const end = asked ?? last;
  const live = asked === undefined || to === 'now' || to.startsWith('-');
  // Both ends are distances from now, as in the commands: `-1h` to `-30m` is half an hour.
  const start = parseMoment(from, from.startsWith('-') ? (live ? last : end) : now);
  const begin = start && start < end ? start : new Date(end.getTime() - FALLBACK_S * 1000);
  const unread = asked === undefined ? `to=${to}` : start === undefined ? `from=${from}` : undefined;
  const wrong = unread ? `cannot read ${unread}` : start && start >= end ? 'the range ends before it starts' : undefined;
  // Long ranges are answered by rows of a minute, which half a minute at an end would not cut.
  const window = end.getTime() - begin.getTime() > FINE_MS ? MINUTE_MS : WINDOW_MS;
  const floor = (at: Date) => new Date(Math.floor(at.getTime() / window) * window);
  const ceil = (at: Date) => new Date(Math.ceil(at.getTime() / window) * window);
  return { from: floor(begin), to: live ? floor(end) : ceil(end), live, wrong: wrong && `${wrong}: fifteen minutes are shown` };
}

/** RFC 3339 without fractions where there are none: short in links. */
export function instant(at: Date): string {
  return at.toISOString().replace('.000Z', 'Z');
}

const STEPS_S = [10, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];
/** Points of a chart: more than its pixels can tell apart are only slower. */
const POINTS_MAX = 120;

/** Seconds of one step of a chart over this many seconds. */
export function stepFor(seconds: number): number {
  return STEPS_S.find((s) => seconds / s <= POINTS_MAX) ?? 86_400;
}

/** `10s`, `2m`, `1h`: the roll-up's badge. */
export function stepName(seconds: number): string {
  if (seconds % 86_400 === 0) return `${seconds / 86_400}d`;
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  if (seconds % 60 === 0) return `${seconds / 60}m`;
  return `${seconds}s`;
}

export const two = (n: number) => String(n).padStart(2, '0');

/** Beyond this distance a time of day alone could be that of another day. */
const CLOCK_ALONE_MS = 12 * 3600 * 1000;

/** Time of day in the reader's zone; with the date if it is far from now. */
export function clock(at: Date, now = new Date()): string {
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return Math.abs(at.getTime() - now.getTime()) < CLOCK_ALONE_MS ? time : `${day(at, now)} ${time}`;
}

/** `22 Nov`, with the year if it is not this one. */
export function day(at: Date, now = new Date()): string {
  const options: Intl.DateTimeFormatOptions = { day: 'numeric', month: 'short' };
  if (at.getFullYear() !== now.getFullYear()) options.year = 'numeric';
  return at.toLocaleDateString('en-GB', options);
}

/** The same moment in UTC, for the hover. */
export function utc(at: Date): string {
  return `${instant(at).replace('T', ' ').replace('Z', '')} UTC`;
}

/** `12 s`, `4 min`, `3 h 5 min`. */
export function lasted(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return `${s} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** How the top bar names a range. */
export function rangeLabel(from: string, to: string, range: Range, now = new Date()): string {
  if (range.wrong === undefined && from.startsWith('-')) {
    if (to === 'now') return `Last ${from.slice(1)}`;
    if (to.startsWith('-')) return `${from.slice(1)} to ${to.slice(1)} ago`;
  }
  return `${clock(range.from, now)} – ${clock(range.to, now)}`;
}

export const COMPARES = [
  { value: 'previous', label: 'the period before' },
  { value: '1h', label: '1 hour before' },
  { value: '1d', label: '1 day before' },
  { value: '7d', label: '1 week before' },
] as const;

/** The range to compare with; undefined where none is asked for. */
export function compareRange(compare: string | undefined, range: Range): { from: Date; to: Date } | undefined {
  if (!compare) return undefined;
  const length = range.to.getTime() - range.from.getTime();
  const seconds = compare === 'previous' ? length / 1000 : parseDistance(compare);
  if (!seconds) return undefined;
  const shift = (at: Date) => new Date(at.getTime() - seconds * 1000);
  return { from: shift(range.from), to: shift(range.to) };
}
