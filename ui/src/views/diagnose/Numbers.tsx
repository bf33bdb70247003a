import { useCatalogue } from '~/api/queries';
import type { Verdict } from '~/api/types';
import { idOf } from '~/lib/edges';
import { change, evidenceUnit, exact, grouped, showEvidence } from '~/lib/units';
import { isOpen } from '~/lib/words';
import { Card } from '~/parts/Card';
import { Nothing } from '~/parts/states';
import css from './Diagnose.module.css';

/** The numbers that the verdict rests on, with the counts behind them. */
export function Numbers({ verdict }: { verdict: Verdict }) {
  const catalogue = useCatalogue().data;
  return (
    <Card flush title="The numbers" subtitle="Against each one's own past; samples are the opportunities behind a value">
      {verdict.evidence.length === 0 ? (
        <Nothing height={72}>{isOpen(verdict) ? 'None that would tell one culprit from another.' : 'Nothing stood out.'}</Nothing>
      ) : (
        <div className={css.scroll} tabIndex={0} role="region" aria-label="The numbers">
          <table className="plain-table">
            <thead>
              <tr>
                <th scope="col">Signal</th>
                <th scope="col" className="right">
                  Value
                </th>
                <th scope="col" className="right">
                  Baseline
                </th>
                <th scope="col" className="right">
                  Samples
                </th>
                <th scope="col">Test</th>
              </tr>
            </thead>
            <tbody>
              {verdict.evidence.map((e) => {
                const unit = evidenceUnit(e.signal, catalogue);
                const number = (value: number | null | undefined) => (
                  <span title={exact(unit, value)}>{showEvidence(e.signal, catalogue, value)}</span>
                );
                return (
                  <tr key={idOf([e.signal, e.scope, e.test])}>
                    <td>
                      <code className={css.signal}>{e.signal}</code>
                      <bdi className={css.why}>{e.scope}</bdi>
                    </td>
                    <td className="right">
                      {number(e.value)}
                      <div className={css.faint}>{change(e.value, e.baseline)}</div>
                    </td>
                    <td className="right">{number(e.baseline)}</td>
                    <td className="right">{grouped(e.samples)}</td>
                    <td>
                      <bdi>{e.test}</bdi>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}
