/** A verdict as Markdown, for the incident's report: plain text that stays true without this page. */
import type { Catalogue, Verdict } from '~/api/types';
import { utc } from './time';
import { plural, show, showEvidence } from './units';
import { CLASS_WORD, culpritWords, headline } from './words';

/** Text inside a table's cell or a line: what Markdown would read as its own is escaped. */
function plain(text: string): string {
  return text.replace(/[\\`*_{}[\]<>|#~]/g, '\\$&').replace(/\s+/g, ' ');
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map((r) => line(r.map(plain)))].join('\n');
}

export function markdown(verdict: Verdict, catalogue: Catalogue | undefined, link: string): string {
  const { answer, what } = headline(verdict);
  const parts = [
    `## ${[answer, ...what].map(plain).join(' · ')}`,
    plain(verdict.summary),
    [
      verdict.since ? `- Since: ${utc(new Date(verdict.since))}` : '',
      `- Looked at: ${utc(new Date(verdict.from))} to ${utc(new Date(verdict.to))}, ${plural(verdict.edges, 'path')}`,
      `- Confidence: ${show('ratio', verdict.confidence)}`,
      `- Coverage: ${show('ratio', verdict.coverage.fraction)}, ${verdict.coverage.agents_reporting} of ${plural(verdict.coverage.agents_expected, 'agent')} reporting`,
      `- Link: ${link}`,
    ]
      .filter(Boolean)
      .join('\n'),
  ];
  if (verdict.evidence.length) {
    parts.push(
      '### Evidence',
      table(
        ['Signal', 'Where', 'Value', 'Baseline', 'Samples', 'Test'],
        verdict.evidence.map((e) => [
          e.signal,
          e.scope,
          showEvidence(e.signal, catalogue, e.value),
          showEvidence(e.signal, catalogue, e.baseline),
          String(e.samples),
          e.test,
        ]),
      ),
    );
  }
  if (verdict.hypotheses.length) {
    parts.push(
      '### Explanations weighed',
      table(
        ['What', 'Where', 'Bad paths', 'Why'],
        verdict.hypotheses.map((h) => [CLASS_WORD[h.class], culpritWords(h.culprit), `${h.edges_bad} of ${h.edges}`, h.why]),
      ),
    );
  }
  if (verdict.affected.length) {
    parts.push(
      '### Hit',
      table(
        ['From', 'To', 'Impact', 'Symptom'],
        verdict.affected.map((a) => [a.source, a.dest, show('ratio', a.impact), a.symptom]),
      ),
    );
  }
  if (verdict.controls.length) {
    parts.push(
      '### Healthy controls',
      table(
        ['What', 'Bad paths', 'Why it counts'],
        verdict.controls.map((c) => [c.what, `${c.bad} of ${c.edges}`, c.why]),
      ),
    );
  }
  return `${parts.join('\n\n')}\n`;
}
