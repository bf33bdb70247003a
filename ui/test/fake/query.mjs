// Answers an EdgeQuery over generated rows, by the words of the API: a small stand-in, for tests of the interface only.
import { bucketValue } from './histogram.mjs';

export class BadQuery extends Error {}

const END = ['workload', 'namespace', 'node', 'zone', 'region', 'environment', 'process', 'image', 'resolution_type', 'pod', 'ip'];
export const DIMENSIONS = [...END.map((f) => `source.${f}`), ...END.map((f) => `dest.${f}`), 'protocol', 'port', 'role', 'az_equal'];
const MAX = new Set(['tcp.rtt_max']);
const MIN = new Set(['tcp.rtt_min']);
const DERIVED = {
  'tcp.retrans_rate': [
    [
      ['tcp.retrans', 1],
      ['tcp.retrans_syn', -1],
      ['tcp.retrans_synack', -1],
    ],
    'tcp.segments.sent',
  ],
  'tcp.connect_timeout_rate': [[['tcp.connect_timeouts', 1]], 'tcp.connects'],
  'tcp.connect_failure_rate': [
    [
      ['tcp.connect_timeouts', 1],
      ['tcp.connects_refused', 1],
      ['tcp.connects_unreachable', 1],
      ['tcp.connects_reset', 1],
    ],
    'tcp.connects',
  ],
  'tcp.stalled_share': [[['tcp.stalled', 1]], 'tcp.active'],
  'tcp.rwnd_share': [[['tcp.blocked_rwnd', 1]], 'tcp.busy'],
  'tcp.srtt_mean': [[['tcp.srtt', 1]], 'tcp.srtt_samples'],
  'tcp.path_loss': [
    [
      ['tcp.segments.sent', 1],
      ['tcp.segments.received', -1],
    ],
    'tcp.segments.sent',
  ],
};

export function dimension(edge, dim) {
  if (dim === 'az_equal') return edge.source.zone && edge.dest.zone ? String(edge.source.zone === edge.dest.zone) : '';
  const [end, field] = dim.split('.');
  return field ? (edge[end][field] ?? '') : (edge[dim] ?? '');
}

/** Sums of a group over some windows. */
class Cell {
  values = new Map();
  hists = new Map();

  /** Adds the columns that the query needs. */
  add(row, columns) {
    for (const name of columns) {
      const value = row.values[name];
      if (value === null || value === undefined) continue;
      const old = this.values.get(name);
      if (old === undefined) this.values.set(name, value);
      else this.values.set(name, MAX.has(name) ? Math.max(old, value) : MIN.has(name) ? Math.min(old, value) : old + value);
    }
    for (const name of columns) {
      const counts = row.hists[name];
      if (!counts) continue;
      const old = this.hists.get(name);
      if (old) for (let i = 0; i < counts.length; i += 1) old[i] += counts[i];
      else this.hists.set(name, counts.slice());
    }
  }

  measure(name, seconds) {
    const derived = DERIVED[name];
    if (derived) {
      const [parts, by] = derived;
      const below = this.values.get(by);
      if (!below || !this.values.has(parts[0][0])) return null;
      return parts.reduce((sum, [part, sign]) => sum + sign * (this.values.get(part) ?? 0), 0) / below;
    }
    if (this.values.has(name)) return this.values.get(name);
    const [, stem, suffix] = /^(.*)\.(rate|count|p\d\d?)$/.exec(name) ?? [];
    if (suffix === 'rate') return this.values.has(stem) ? this.values.get(stem) / seconds : null;
    const counts = this.hists.get(stem);
    if (!counts) return null;
    const total = counts.reduce((a, b) => a + b, 0);
    if (suffix === 'count') return total;
    if (total === 0) return null;
    let seen = 0;
    for (let i = 0; i < counts.length; i += 1) {
      seen += counts[i];
      if (seen >= (total * Number(suffix.slice(1))) / 100) return bucketValue(i);
    }
    return null;
  }
}

const LEX = /\s*(?:('(?:[^']|'')*')|(\d+(?:\.\d+)?)|([A-Za-z_][\w.]*)|(<>|<=|>=|!=|=|<|>|\(|\)|,))/gy;

/** The filter as a predicate over `get(name)`. */
export function parseFilter(text, known) {
  const words = [];
  LEX.lastIndex = 0;
  while (text.slice(LEX.lastIndex).trim()) {
    const at = LEX.lastIndex;
    const match = LEX.exec(text);
    if (!match) throw new BadQuery(`filter: cannot read '${text.slice(at).trim().slice(0, 20)}'`);
    words.push(
      match[1] !== undefined
        ? { value: match[1].slice(1, -1).replaceAll("''", "'") }
        : match[2] !== undefined
          ? { value: Number(match[2]) }
          : { word: match[3] ?? match[4] },
    );
  }
  let at = 0;
  const is = (word) => words[at]?.word?.toUpperCase() === word && ++at > 0;
  const need = (word) => {
    if (!is(word)) throw new BadQuery(`filter: expected ${word}`);
  };
  const value = () => {
    const next = words[at++];
    if (!next || next.value === undefined) throw new BadQuery('filter: expected a value');
    return next.value;
  };
  const or = () => {
    let left = and();
    while (is('OR')) {
      const [a, b] = [left, and()];
      left = (get) => a(get) || b(get);
    }
    return left;
  };
  const and = () => {
    let left = one();
    while (is('AND')) {
      const [a, b] = [left, one()];
      left = (get) => a(get) && b(get);
    }
    return left;
  };
  const one = () => {
    if (is('NOT')) {
      const inner = one();
      return (get) => !inner(get);
    }
    if (is('(')) {
      const inner = or();
      need(')');
      return inner;
    }
    const name = words[at++]?.word;
    if (!name) throw new BadQuery('filter: expected a dimension or measure');
    if (!known(name)) throw new BadQuery(`filter: no column '${name}'`);
    if (is('IN')) {
      need('(');
      const list = [value()];
      while (is(',')) list.push(value());
      need(')');
      return (get) => list.some((v) => String(v) === String(get(name) ?? ''));
    }
    const not = is('NOT');
    if (is('LIKE')) {
      const pattern = new RegExp(
        `^${String(value())
          .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
          .replaceAll('%', '.*')}$`,
      );
      return (get) => pattern.test(String(get(name))) !== not;
    }
    const operator = words[at++]?.word;
    const right = value();
    const compare = {
      '=': (a, b) => a === b,
      '!=': (a, b) => a !== b,
      '<>': (a, b) => a !== b,
      '<': (a, b) => a < b,
      '>': (a, b) => a > b,
      '<=': (a, b) => a <= b,
      '>=': (a, b) => a >= b,
    }[operator];
    if (!compare) throw new BadQuery(`filter: expected an operator after ${name}`);
    return (get) =>
      typeof right === 'number' ? get(name) !== null && compare(Number(get(name)), right) : compare(String(get(name) ?? ''), right);
  };
  const whole = or();
  if (at < words.length) throw new BadQuery(`filter: unexpected '${words[at].word ?? words[at].value}'`);
  return whole;
}

const isMeasure = (name) =>
  /^(tcp|udp|dns|http|grpc|kernel)\.[a-z_]+(\dxx|\.duration)?(\.(sent|received))?(\.(rate|count|p\d\d?))?$/.test(name);

/** Columns behind some measures. */
function columnsOf(measures) {
  const all = new Set();
  for (const measure of measures) {
    const derived = DERIVED[measure];
    if (derived) for (const name of [...derived[0].map(([part]) => part), derived[1]]) all.add(name);
    else all.add(measure.replace(/\.(rate|count|p\d\d?)$/, ''));
  }
  return all;
}

/** @param rows (edge, fromS, toS) => iterable of ten-second rows */
export function answer(query, edges, rows) {
  for (const dim of query.group_by ?? []) if (!DIMENSIONS.includes(dim)) throw new BadQuery(`no dimension '${dim}'`);
  for (const measure of query.measures) if (!isMeasure(measure)) throw new BadQuery(`no measure '${measure}'`);
  const fromS = Date.parse(query.from) / 1000;
  const toS = Date.parse(query.to) / 1000;
  if (!(fromS < toS)) throw new BadQuery('range is empty');
  const step = query.step_s ?? null;
  // Steps start where the range starts.
  const steps = step ? Array.from({ length: Math.ceil((toS - fromS) / step) }, (_, i) => fromS + i * step) : [];
  const keep = query.filter ? parseFilter(query.filter, (n) => DIMENSIONS.includes(n) || isMeasure(n)) : null;
  const measured = query.filter ? /(tcp|udp|dns|http|grpc|kernel)\./.test(query.filter) : false;
  const columns = columnsOf([...query.measures, ...(query.filter?.match(/(tcp|udp|dns|http|grpc|kernel)\.[a-z_.0-9]+/g) ?? [])]);
  const groups = new Map();
  const group = (edge) => {
    const key = query.group_by.map((d) => dimension(edge, d));
    const id = key.join('\u0000');
    let found = groups.get(id);
    if (!found) {
      found = { key, edge, total: new Cell(), before: new Cell(), steps: steps.map(() => null) };
      groups.set(id, found);
    }
    return found;
  };
  for (const edge of edges) {
    if (keep && !measured && !keep((name) => dimension(edge, name))) continue;
    let into;
    for (const row of rows(edge, fromS, toS)) {
      into ??= group(edge);
      into.total.add(row, columns);
      if (step) {
        const i = Math.floor((row.windowS - fromS) / step);
        into.steps[i] ??= new Cell();
        into.steps[i].add(row, columns);
      }
    }
    if (into && query.compare_from) {
      for (const row of rows(edge, Date.parse(query.compare_from) / 1000, Date.parse(query.compare_to) / 1000))
        into.before.add(row, columns);
    }
  }
  const seconds = toS - fromS;
  let list = [...groups.values()];
  if (keep && measured) {
    list = list.filter((g) => keep((name) => (DIMENSIONS.includes(name) ? dimension(g.edge, name) : g.total.measure(name, seconds))));
  }
  const total = list.length;
  if (query.sort) {
    const down = query.sort.startsWith('-');
    const name = query.sort.replace(/^-/, '');
    const by = (g) => (DIMENSIONS.includes(name) ? g.key[query.group_by.indexOf(name)] : (g.total.measure(name, seconds) ?? -Infinity));
    list.sort((a, b) => (by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0) * (down ? -1 : 1));
  }
  if (query.limit) list = list.slice(0, query.limit);
  const iso = (s) => new Date(s * 1000).toISOString();
  return {
    from: query.from,
    to: query.to,
    step_s: step,
    steps: steps.map(iso),
    group_by: query.group_by,
    measures: query.measures,
    rows: list.map((g) => ({
      key: g.key,
      totals: query.measures.map((m) => g.total.measure(m, seconds)),
      ...(query.compare_from ? { compare: query.measures.map((m) => g.before.measure(m, seconds)) } : {}),
      ...(step ? { series: query.measures.map((m) => g.steps.map((c) => c?.measure(m, step) ?? null)) } : {}),
    })),
    groups_total: total,
    resolution_s: 10,
  };
}
