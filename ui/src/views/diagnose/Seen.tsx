import type { Verdict } from '~/api/types';
import { grouped, plural, show } from '~/lib/units';
import { Card } from '~/parts/Card';
import { Moment } from '~/parts/marks';
import css from './Diagnose.module.css';

/** How much of what should have been seen was seen: what the verdict is worth. */
export function Seen({ verdict }: { verdict: Verdict }) {
  const { coverage } = verdict;
  const absent = [
    ...Object.entries(coverage.silent).map(([agent, at]) => ({ agent, at, what: 'silent since' })),
    ...Object.entries(coverage.left ?? {}).map(([agent, at]) => ({ agent, at, what: 'left at' })),
  ];
  const losses = Object.entries(coverage.losses).filter(([, n]) => n > 0);
  return (
    <Card
      title="Coverage"
      subtitle={`${show('ratio', coverage.fraction)} of the expected windows, ${coverage.agents_reporting} of ${plural(coverage.agents_expected, 'agent')} reporting`}
    >
      <div className={css.seen}>
        {absent.length + losses.length === 0 && <span className={css.faint}>No agent was silent and nothing was lost.</span>}
        {absent.map(({ agent, at, what }) => (
          <span key={agent}>
            <bdi>{agent}</bdi>{' '}
            <span className={css.faint}>
              {what} <Moment at={at} />
            </span>
          </span>
        ))}
        {losses.map(([reason, n]) => (
          <span key={reason}>
            {grouped(n)} lost <span className={css.faint}>{reason.replaceAll('_', ' ')}</span>
          </span>
        ))}
      </div>
    </Card>
  );
}
