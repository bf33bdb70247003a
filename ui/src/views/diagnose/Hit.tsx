import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { Verdict } from '~/api/types';
import { carry } from '~/app/search';
import { plural, show } from '~/lib/units';
import { Card } from '~/parts/Card';
import { Name } from '~/parts/marks';
import { Nothing } from '~/parts/states';
import css from './Diagnose.module.css';

const SHOWN = 12;

/** Who else is hit, by impact, and who with good reason is not. */
export function Hit({ verdict }: { verdict: Verdict }) {
  const [whole, setWhole] = useState(false);
  const rows = whole ? verdict.affected : verdict.affected.slice(0, SHOWN);
  const hidden = verdict.affected.length - rows.length;
  return (
    <div className={css.stack}>
      <Card flush id="affected" title="Who is hit" subtitle="Pairs of workloads, client to server, by impact">
        {rows.length === 0 ? (
          <Nothing height={72}>Nobody, as far as can be seen.</Nothing>
        ) : (
          <ul className={css.hits}>
            {rows.map((a) => (
              <li key={`${a.source}\u0000${a.dest}`}>
                <span className={css.impact} title={`impact ${a.impact}`}>
                  <span style={{ width: `${Math.round(a.impact * 100)}%` }} />
                </span>
                <span className={css.share}>{show('ratio', a.impact)}</span>
                <span className={css.pair}>
                  <Link to="/edges/$source/$dest" params={{ source: a.source || 'n/a', dest: a.dest || 'n/a' }} search={carry}>
                    <Name text={a.source} /> → <Name text={a.dest} />
                  </Link>
                  <bdi className={css.why}>{a.symptom}</bdi>
                </span>
              </li>
            ))}
            {hidden > 0 && (
              <li>
                <button type="button" className={css.more} onClick={() => setWhole(true)}>
                  {plural(hidden, 'more pair')}
                </button>
              </li>
            )}
          </ul>
        )}
      </Card>
      {verdict.controls.length > 0 && (
        <Card flush title="Healthy controls" subtitle="What is fine clears what it passes through">
          <table className="plain-table">
            <tbody>
              {verdict.controls.map((c) => (
                <tr key={c.what}>
                  <th scope="row" className={css.control}>
                    <bdi>{c.what}</bdi>
                  </th>
                  <td className="right">
                    {c.bad} of {c.edges} bad
                  </td>
                  <td>
                    <bdi>{c.why}</bdi>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Card>
      )}
    </div>
  );
}
