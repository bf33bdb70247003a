import type { Unit } from '~/api/types';
import type { EdgeItem } from '~/lib/edges';
import { show } from '~/lib/units';
import { Card } from '~/parts/Card';
import { Delta, Value } from '~/parts/marks';
import css from './Edge.module.css';

const ROWS: { label: string; measure: string; unit: Unit }[] = [
  { label: 'Bytes', measure: 'tcp.bytes', unit: 'bytes' },
  { label: 'Data segments', measure: 'tcp.segments', unit: 'count' },
  { label: 'Resets', measure: 'tcp.resets', unit: 'count' },
];

/** What each end says of the same bytes. */
export function BothEnds({ item }: { item: EdgeItem }) {
  const seen = (side: 'sent' | 'received') =>
    ROWS.some((r) => item.value(`${r.measure}.${side}`) !== null && item.value(`${r.measure}.${side}`) !== undefined);
  const missing = [!seen('sent') && 'source', !seen('received') && 'destination'].filter(Boolean);
  return (
    <Card
      flush
      title="Both ends"
      subtitle={
        missing.length
          ? `No agent at the ${missing.join(' and the ')}: nothing to compare with`
          : 'Each end counts by itself; what is on the way makes a small gap'
      }
    >
      <table className="plain-table">
        <thead>
          <tr>
            <th scope="col">
              <span className="off-page">Measure</span>
            </th>
            <th scope="col" className="right">
              Sent
            </th>
            <th scope="col" className="right">
              Received
            </th>
            <th scope="col" className="right">
              Gap
            </th>
          </tr>
        </thead>
        <tbody>
          {ROWS.map((r) => {
            const sent = item.value(`${r.measure}.sent`);
            const received = item.value(`${r.measure}.received`);
            const both = sent !== null && sent !== undefined && received !== null && received !== undefined;
            return (
              <tr key={r.measure}>
                <th scope="row">{r.label}</th>
                {(['sent', 'received'] as const).map((side) => (
                  <td key={side} className="right">
                    <Value unit={r.unit} value={item.value(`${r.measure}.${side}`)} />{' '}
                    <Delta unit={r.unit} value={item.value(`${r.measure}.${side}`)} before={item.before(`${r.measure}.${side}`)} />
                  </td>
                ))}
                <td className="right">
                  {both ? (
                    <>
                      <Value unit={r.unit} value={sent - received} />
                      {sent > 0 && <div className={css.share}>{show('ratio', (sent - received) / sent)}</div>}
                    </>
                  ) : (
                    <Value unit={r.unit} value={null} />
                  )}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Card>
  );
}
