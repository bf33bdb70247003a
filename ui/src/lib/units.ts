/** Numbers as people read them: three significant digits in a unit that fits, and the exact value for the hover. */
import type { Catalogue, Unit } from '~/api/types';

export const ABSENT = '–';
const THIN = '\u202f';
const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Three significant digits, without trailing zeros after a comma. */
function short(value: number): string {
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return Number(value.toFixed(digits)).toString();
}

function bytes(value: number): string {
  let size = value;
  let power = 0;
  while (Math.abs(size) >= 1023.5 && power < BINARY.length - 1) {
    size /= 1024;
    power += 1;
  }
  return `${short(size)} ${BINARY[power]}`;
}

function seconds(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0 ms';
  if (size < 0.0009995) return `${short(value * 1e6)} µs`;
  if (size < 0.9995) return `${short(value * 1e3)} ms`;
  if (size < 119.5) return `${short(value)} s`;
  if (size < 7199) return `${short(value / 60)} min`;
  if (size < 172_799) return `${short(value / 3600)} h`;
  return `${short(value / 86_400)} d`;
}

function count(value: number): string {
  const size = Math.abs(value);
  if (size >= 999_500_000) return `${short(value / 1e9)} G`;
  if (size >= 999_500) return `${short(value / 1e6)} M`;
  if (size >= 9_999.5) return `${short(value / 1e3)} k`;
  return size >= 100 ? grouped(Math.round(value)) : short(value);
}

function percent(value: number): string {
  const shown = value * 100;
  if (shown !== 0 && Math.abs(shown) < 0.01) return `${shown < 0 ? '>-' : '<'}0.01${THIN}%`;
  return `${short(shown)}${THIN}%`;
}

/** Digits in groups of three: 12,345. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 6 });
}

/** The value in a unit for the reader. */
export function show(unit: Unit, value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return ABSENT;
  switch (unit) {
    case 'bytes':
      return bytes(value);
    case 'seconds':
    case 'socket_seconds':
      return seconds(value);
    case 'ratio':
      return percent(value);
    case 'count':
      return count(value);
  }
}

/** The value as the API gave it, for the hover. */
export function exact(unit: Unit, value: number | null | undefined): string {
  if (value === null || value === undefined) return 'no data';
  switch (unit) {
    case 'bytes':
      return `${grouped(value)} bytes`;
    case 'seconds':
      return `${grouped(value)} s`;
    case 'socket_seconds':
      return `${grouped(value)} socket-seconds`;
    case 'ratio':
      return `${value.toPrecision(6).replace(/\.?0+$/, '')} (${percent(value)})`;
    case 'count':
      return grouped(value);
  }
}

/** How much a value changed: `×3.2`, `+12 %`, `new`. Empty where nothing can be said. */
export function change(value: number | null | undefined, before: number | null | undefined): string {
  if (value === null || value === undefined || before === null || before === undefined) return '';
  if (before === 0) return value === 0 ? '' : 'new';
  const ratio = value / before;
  if (ratio >= 1000) return 'over ×1000';
  if (ratio >= 2) return `×${short(ratio)}`;
  if (Math.abs(ratio - 1) < 0.005) return '±0';
  const sign = ratio > 1 ? '+' : '−';
  return `${sign}${short(Math.abs(ratio - 1) * 100)}${THIN}%`;
}

/** `1 edge`, `3 edges`. */
export function plural(number: number, one: string, many = `${one}s`): string {
  return `${grouped(number)} ${number === 1 ? one : many}`;
}

const isOf = (measure: string, signal: string) => measure === signal || measure.startsWith(`${signal}.`);

/** Whether the API can be asked for it. */
export function isMeasure(name: string, catalogue: Catalogue | undefined): boolean {
  if (!catalogue) return false;
  return catalogue.derived.some((d) => d.name === name) || catalogue.signals.some((s) => /^[\w.]+$/.test(name) && isOf(name, s.name));
}

/** Unit of a measure such as `tcp.bytes.sent`, `tcp.rtt.p95` or `tcp.active.rate`; a plain count where the catalogue does not know it. */
export function unitOf(measure: string, catalogue: Catalogue | undefined): Unit {
  if (!catalogue) return 'count';
  const derived = catalogue.derived.find((d) => d.name === measure);
  if (derived) return derived.unit;
  const signal = catalogue.signals.find((s) => isOf(measure, s.name));
  const known = catalogue.signals.find((s) => s.name === measure) ?? signal;
  if (!known || measure.endsWith('.count')) return 'count';
  // Socket-seconds per second are open sockets; seconds per second are connections that are in that state.
  if (measure.endsWith('.rate') && (known.unit === 'socket_seconds' || known.unit === 'seconds')) return 'count';
  return known.unit;
}

/** A measure's value with `/s` where it is a rate. */
export function showMeasure(measure: string, unit: Unit, value: number | null | undefined): string {
  const text = show(unit, value);
  const perSecond = measure.endsWith('.rate') && !/^tcp\.(active|stalled|busy|blocked_\w+|srtt)\.rate$/.test(measure);
  return text !== ABSENT && perSecond ? `${text}/s` : text;
}

/** Evidence whose number is not of the unit that its signal has in the catalogue: shares of attempts, times and counts a second. */
const EVIDENCE: Record<string, { unit: Unit; after: string }> = {
  'tcp.active per tcp.connects': { unit: 'seconds', after: ' a connection' },
  'tcp.connects_refused': { unit: 'ratio', after: ' of connects' },
  'tcp.connects': { unit: 'count', after: '/s' },
  'tcp.resets.sent': { unit: 'count', after: '/s' },
};

/** Unit of a number of a verdict's evidence. */
export const evidenceUnit = (signal: string, catalogue: Catalogue | undefined): Unit => EVIDENCE[signal]?.unit ?? unitOf(signal, catalogue);

/** A number of a verdict's evidence. */
export function showEvidence(signal: string, catalogue: Catalogue | undefined, value: number | null | undefined): string {
  const own = EVIDENCE[signal];
  if (!own) return showMeasure(signal, unitOf(signal, catalogue), value);
  const text = show(own.unit, value);
  return text === ABSENT ? text : text + own.after;
}
