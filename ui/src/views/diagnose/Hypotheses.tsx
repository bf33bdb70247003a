import { IconArrowNarrowRight, IconCheck, IconX } from '@tabler/icons-react';
import type { Hypothesis, Verdict } from '~/api/types';
import { CLASS_WORD, culpritWords } from '~/lib/words';
import { Card } from '~/parts/Card';
import css from './Diagnose.module.css';

/** The explanations that were weighed, the likeliest first, and why each other one was cleared. */
export function Hypotheses({ verdict }: { verdict: Verdict }) {
  const top = Math.max(...verdict.hypotheses.map((h) => h.log_likelihood), 1);
  return (
    <Card flush title="Explanations weighed" subtitle="By likelihood against nothing being wrong; a longer bar is likelier">
      <ol className={css.hypotheses}>
        {verdict.hypotheses.map((h, i) => (
          <Line
            key={`${h.class}${h.culprit.scope}${h.culprit.name}${h.culprit.peer ?? ''}`}
            hypothesis={h}
            share={Math.max(0, h.log_likelihood) / top}
            standing={standing(verdict, h, i)}
          />
        ))}
      </ol>
    </Card>
  );
}

type Standing = 'taken' | 'possible' | 'cleared';

const STANDINGS = {
  taken: { icon: IconArrowNarrowRight, word: 'taken' },
  possible: { icon: IconCheck, word: 'possible' },
  cleared: { icon: IconX, word: 'cleared' },
};

function standing(verdict: Verdict, h: Hypothesis, index: number): Standing {
  if (verdict.verdict === 'ambiguous') return index < 2 ? 'possible' : 'cleared';
  if (verdict.verdict === 'insufficient_evidence') return 'possible';
  const { scope, name, peer } = verdict.culprit;
  return h.class === verdict.class && h.culprit.scope === scope && h.culprit.name === name && (h.culprit.peer ?? null) === (peer ?? null)
    ? 'taken'
    : 'cleared';
}

function Line({ hypothesis, share, standing }: { hypothesis: Hypothesis; share: number; standing: Standing }) {
  const { icon: Icon, word } = STANDINGS[standing];
  return (
    <li className={css.hypothesis} data-standing={standing}>
      <span className={css.standing}>
        <Icon size={15} aria-hidden="true" /> {word}
      </span>
      <div className={css.claim}>
        <div className={css.claimHead}>
          <strong>{CLASS_WORD[hypothesis.class]}</strong> <bdi>{culpritWords(hypothesis.culprit)}</bdi>
          <span className={css.faint}>
            {hypothesis.edges_bad} of {hypothesis.edges} edges bad
          </span>
        </div>
        <bdi className={css.why}>{hypothesis.why}</bdi>
      </div>
      <span className={css.likely} title={`log-likelihood ratio ${hypothesis.log_likelihood.toFixed(1)}`}>
        <span style={{ width: `${Math.round(share * 100)}%` }} />
      </span>
    </li>
  );
}
