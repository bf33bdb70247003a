import { Modal } from '@mantine/core';
import { Key } from '~/parts/marks';
import css from './Help.module.css';
import { PLACES } from './Rail';

const KEYS: [string[], string][] = [
  [['/'], 'write a filter, where edges are shown'],
  [['t'], 'choose the time range'],
  [['w'], 'whose address it is'],
  ...PLACES.map((p): [string[], string] => [['g', p.key], p.label]),
  [['?'], 'this help'],
  [['Esc'], 'close, or leave the field'],
];

export function Help({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keys and filters" size="md" closeButtonProps={{ 'aria-label': 'Close' }}>
      <dl className={css.keys}>
        {KEYS.map(([keys, does]) => (
          <div key={keys.join()}>
            <dt>
              {keys.map((k) => (
                <Key key={k}>{k}</Key>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <h3 className={css.head}>Filters</h3>
      <p className={css.text}>Conditions over dimensions and measures, as in SQL. Tab or Enter takes a suggestion.</p>
      <ul className={css.examples}>
        <li>
          <code>source.workload = 'frontend'</code>
        </li>
        <li>
          <code>az_equal = 'false' AND tcp.retrans_rate &gt; 0.01</code>
        </li>
        <li>
          <code>source.zone = 'us-east-1b' OR dest.zone = 'us-east-1b'</code>
        </li>
        <li>
          <code>dest.workload LIKE 'cart%' AND port IN ('7070', '6379')</code>
        </li>
      </ul>
      <h3 className={css.head}>Names</h3>
      <p className={css.text}>
        The question mark beside an end tells by what its name was found, and who held its address when. Any address can be asked about, as
        by <code>edgescope why 10.0.0.5:443 --at -2h</code>.
      </p>
      <h3 className={css.head}>Charts</h3>
      <p className={css.text}>
        Drag over a chart of edges to look closer at that time. On a focused chart ← and → read its values. A chart’s menu copies the calls
        of the API that give the same numbers.
      </p>
    </Modal>
  );
}
