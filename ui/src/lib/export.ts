/** The numbers of a chart outside of it: as calls of the API, as a table. */
import type { EdgeQuery } from '~/api/types';
import type { ChartData } from '~/parts/chart/types';

/** One argument for a POSIX shell. */
export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The variable of the shell that holds the token: the token itself has no place in a clipboard. */
const TOKEN_HEADER = '-H "authorization: Bearer $EDGESCOPE_TOKEN"';

/**
 * The very queries of a chart, one call each, with their steps and the compared range. `edgescope edges` can ask for neither and so
 * would give other numbers.
 */
export function asRequests(queries: EdgeQuery[], origin: string, withToken: boolean): string {
  const call = (query: EdgeQuery) =>
    [
      ...['curl', '-sS', '-H', 'content-type: application/json'].map(shellQuote),
      ...(withToken ? [TOKEN_HEADER] : []),
      ...['-d', JSON.stringify(query), `${origin}/api/v1/edges`].map(shellQuote),
    ].join(' ');
  return queries.map(call).join('\n');
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
