/** The filter box: SQL expressions over dimensions and measures. Here only what completion and links need; the server is the judge. */

const WORDS = ['AND', 'OR', 'NOT', 'IN', 'LIKE', 'IS', 'NULL', 'BETWEEN'];
const OPERATORS = ['=', '!=', 'IN (', 'LIKE', 'NOT LIKE', '>', '<', '>=', '<='];

/** A value as an SQL text. */
export function quote(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

/** `source.zone = 'a'`. An unknown value is stored as an empty text. */
export function equals(dim: string, value: string): string {
  return `${dim} = ${quote(value)}`;
}

/** All of them; each in brackets if it has an OR outside of its own. */
export function all(...parts: (string | null | undefined)[]): string | undefined {
  const given = parts.map((p) => p?.trim()).filter((p): p is string => !!p);
  if (given.length === 0) return undefined;
  if (given.length === 1) return given[0];
  return given.map((p) => (/\bOR\b/i.test(p) ? `(${p})` : p)).join(' AND ');
}

/** Any of them. */
export function any(parts: string[]): string {
  return parts.length === 1 ? (parts[0] ?? '') : parts.map((p) => `(${p})`).join(' OR ');
}

/** The groups with these keys. */
export function keysFilter(groupBy: string[], keys: string[][]): string {
  return any(keys.map((key) => groupBy.map((dim, i) => equals(dim, key[i] ?? '')).join(' AND ')));
}

interface Token {
  kind: 'name' | 'word' | 'operator' | 'text' | 'number' | 'bracket' | 'comma';
  text: string;
  start: number;
  end: number;
}

function tokens(text: string): Token[] {
  const found: Token[] = [];
  const pattern = /\s+|('(?:[^']|'')*'?)|(\d+(?:\.\d+)?)|([A-Za-z_"][\w."]*)|(<>|<=|>=|!=|=|<|>)|([()])|(,)/gy;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const [whole, quoted, number, name, operator, bracket, comma] = match;
    const end = pattern.lastIndex;
    const start = end - whole.length;
    if (quoted !== undefined) found.push({ kind: 'text', text: quoted, start, end });
    else if (number !== undefined) found.push({ kind: 'number', text: number, start, end });
    else if (name !== undefined) {
      const kind = WORDS.includes(name.toUpperCase()) ? 'word' : 'name';
      found.push({ kind, text: name, start, end });
    } else if (operator !== undefined) found.push({ kind: 'operator', text: operator, start, end });
    else if (bracket !== undefined) found.push({ kind: 'bracket', text: bracket, start, end });
    else if (comma !== undefined) found.push({ kind: 'comma', text: comma, start, end });
  }
  return found;
}

/** What may stand at the caret, and which letters a choice replaces. */
export interface Completion {
  wants: 'name' | 'operator' | 'value' | 'connective';
  /** The dimension or measure that a value is wanted of. */
  of?: string;
  typed: string;
  start: number;
  end: number;
}

/** What may stand at the caret of this text. */
export function completionAt(text: string, caret: number): Completion {
  const before = tokens(text.slice(0, caret));
  const last = before.at(-1);
  const open =
    last && last.end === caret && last.kind !== 'bracket' && last.kind !== 'comma' && last.kind !== 'operator' ? last : undefined;
  const done = open ? before.slice(0, -1) : before;
  const typed = open ? open.text.replace(/^'|'$/g, '').replaceAll("''", "'") : '';
  const place = { typed, start: open?.start ?? caret, end: caret };
  const previous = done.at(-1);
  if (!previous) return { wants: 'name', ...place };
  const subject = [...done].reverse().find((t) => t.kind === 'name')?.text;
  const word = previous.text.toUpperCase();
  if (previous.kind === 'operator' || word === 'LIKE' || previous.kind === 'comma' || (previous.text === '(' && insideList(done))) {
    return { wants: 'value', of: subject, ...place };
  }
  if (previous.kind === 'name') return { wants: 'operator', of: subject, ...place };
  if (previous.text === '(' || word === 'AND' || word === 'OR' || (word === 'NOT' && done.at(-2)?.kind !== 'name')) {
    return { wants: 'name', ...place };
  }
  if (word === 'NOT') return { wants: 'operator', of: subject, ...place };
  return { wants: 'connective', ...place };
}

function insideList(done: Token[]): boolean {
  return done.at(-2)?.text.toUpperCase() === 'IN';
}

/** Choices for a completion, best first. */
export function choices(at: Completion, names: string[], values: string[]): string[] {
  const typed = at.typed.toLowerCase();
  const pick = (from: string[]) => {
    const starts = from.filter((c) => c.toLowerCase().startsWith(typed));
    const holds = from.filter((c) => !c.toLowerCase().startsWith(typed) && c.toLowerCase().includes(typed));
    return [...starts, ...holds].slice(0, 12);
  };
  switch (at.wants) {
    case 'name':
      return pick(names);
    case 'operator':
      return pick(OPERATORS);
    case 'value':
      return pick(values).map(quote);
    case 'connective':
      return pick(['AND', 'OR']);
  }
}

/** The text with the choice put in, and where the caret then stands. */
export function complete(text: string, at: Completion, choice: string): { text: string; caret: number } {
  const head = text.slice(0, at.start);
  const tail = text.slice(at.end).replace(/^'/, '');
  const space = choice.endsWith('(') || tail.startsWith(' ') ? '' : ' ';
  const put = `${head}${choice}${space}`;
  return { text: put + tail, caret: put.length };
}
