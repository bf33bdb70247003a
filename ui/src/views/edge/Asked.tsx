import { useAsked } from '~/api/queries';
import type { AskedName } from '~/api/types';
import type { View } from '~/app/view';
import { clock } from '~/lib/time';
import { grouped } from '~/lib/units';
import { Card } from '~/parts/Card';
import { Value } from '~/parts/marks';
import { Busy, Failure, Nothing } from '~/parts/states';

const NAMES_MAX = 12;

/** Which names the source asked DNS for, and what came of it. */
export function Asked({ view, workload }: { view: View; workload: string }) {
  const { data, error } = useAsked(view.range, workload, NAMES_MAX);
  const more = data ? data.names_total - data.names.length : 0;
  const begins =
    data && Date.parse(data.kept_from) > view.range.from.getTime() ? `; remembered since ${clock(new Date(data.kept_from))}` : '';
  return (
    <Card flush title="Names asked for" subtitle={`By the source, of any resolver: answers that reached it${begins}`}>
      {error ? (
        <Failure error={error} height={80} />
      ) : !data ? (
        <Busy height={80} />
      ) : data.names.length === 0 ? (
        <Nothing height={60}>No answer is remembered of this range.</Nothing>
      ) : (
        <table className="plain-table">
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col" className="right">
                Answers
              </th>
              <th scope="col" className="right">
                No such name
              </th>
              <th scope="col" className="right">
                Errors
              </th>
            </tr>
          </thead>
          <tbody>
            {data.names.map((asked) => (
              <Row key={asked.name} asked={asked} />
            ))}
            {more > 0 && (
              <tr>
                <th scope="row" colSpan={4}>
                  and {grouped(more)} more
                </th>
              </tr>
            )}
          </tbody>
        </table>
      )}
    </Card>
  );
}

function Row({ asked }: { asked: AskedName }) {
  return (
    <tr>
      <th scope="row">
        <bdi>{asked.name || '(others)'}</bdi>
      </th>
      {[asked.answers, asked.nxdomain, asked.failures].map((count, at) => (
        <td key={at} className="right">
          <Value unit="count" value={count} />
        </td>
      ))}
    </tr>
  );
}
