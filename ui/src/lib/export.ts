/** The numbers of a chart outside of it: as a command, as a call, as a table. */
import type { EdgeQuery } from '~/api/types';
import type { ChartData } from '~/parts/chart/types';

/** One argument for a POSIX shell. */
export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function asCommand(query: EdgeQuery): string {
  const parts = ['edgescope', 'edges', '--json', '--from', query.from, '--to', query.to];
  if (query.group_by.length) parts.push('--group-by', query.group_by.join(','));
  if (query.filter) parts.push('--filter', query.filter);
  if (query.sort) parts.push(`--sort=${query.sort}`);
  if (query.limit) parts.push('--limit', String(query.limit));
  return parts.map(shellQuote).join(' ');
}

export function asRequest(query: EdgeQuery, origin: string): string {
  return ['curl', '-sS', '-H', 'content-type: application/json', '-d', JSON.stringify(query), `${origin}/api/v1/edges`]
    .map(shellQuote)
    .join(' ');
}

/** One field of RFC 4180; a text that a spreadsheet would take for a formula is made plain. */
function field(text: string): string {
  const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

export function toCsv(data: ChartData): string {
  const rows = data.times.map((t, i) => [new Date(t).toISOString(), ...data.series.map((s) => s.values[i]?.toString() ?? '')].join(','));
  return `${[['time', ...data.series.map((s) => s.name)].map(field).join(','), ...rows].join('\r\n')}\r\n`;
}
