import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import type { Verdict } from '~/api/types';
import { carry } from '~/app/search';
import { idOf } from '~/lib/edges';
import { all, equals } from '~/lib/filter';
import { plural, show } from '~/lib/units';
import { isOpen } from '~/lib/words';
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
          <Nothing height={72}>{isOpen(verdict) ? 'Cannot be told while the culprit is open.' : 'Nobody, as far as can be seen.'}</Nothing>
        ) : (
          <ul className={css.hits}>
            {rows.map((a) => (
              <li key={idOf([a.source, a.dest])}>
                <span className={css.impact} title={`impact ${a.impact}`}>
                  <span style={{ width: `${Math.round(a.impact * 100)}%` }} />
                </span>
                <span className={css.share}>{show('ratio', a.impact)}</span>
                <span className={css.pair}>
                  <PairLink source={a.source} dest={a.dest} />
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
                    {c.bad} of {plural(c.edges, 'path')} bad
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

/** The way to a pair's page; to a filter on it where an end has no name and so no page. */
function PairLink({ source, dest }: { source: string; dest: string }) {
  const names = (
    <>
      <Name text={source} /> → <Name text={dest} />
    </>
  );
  if (source && dest) {
    return (
      <Link to="/edges/$source/$dest" params={{ source, dest }} search={carry}>
        {names}
      </Link>
    );
  }
  const filter = all(equals('source.workload', source), equals('dest.workload', dest));
  return (
    <Link to="/edges" search={(s) => ({ ...carry(s), filter })}>
      {names}
    </Link>
  );
}
