import { IconArrowNarrowRight, IconCheck, IconEqual, IconMinus, IconX } from '@tabler/icons-react';
import type { Hypothesis, Verdict } from '~/api/types';
import { CLASS_WORD, culpritWords, type Standing, standing } from '~/lib/words';
import { Card } from '~/parts/Card';
import css from './Diagnose.module.css';

/** The explanations that were weighed, the likeliest first, and why each other one was cleared. */
export function Hypotheses({ verdict }: { verdict: Verdict }) {
  const top = Math.max(...verdict.hypotheses.map((h) => h.log_likelihood), 1);
  return (
    <Card flush title="Explanations weighed" subtitle="By likelihood against nothing being wrong; a longer bar is likelier">
      <ol className={css.hypotheses}>
        {verdict.hypotheses.map((h) => (
          <Line
            key={JSON.stringify([h.class, h.culprit])}
            hypothesis={h}
            share={Math.max(0, h.log_likelihood) / top}
            standing={standing(verdict, h)}
          />
        ))}
      </ol>
    </Card>
  );
}

const STANDINGS: Record<Standing, { icon: typeof IconX; word: string }> = {
  taken: { icon: IconArrowNarrowRight, word: 'taken' },
  nearest: { icon: IconCheck, word: 'nearest' },
  possible: { icon: IconEqual, word: 'as possible' },
  weaker: { icon: IconMinus, word: 'weaker' },
  cleared: { icon: IconX, word: 'cleared' },
};

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
            {hypothesis.edges_bad} of {hypothesis.edges} paths bad
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
