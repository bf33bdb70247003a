import { useScheme } from '~/app/scheme';
import type { EdgeItem } from '~/lib/edges';
import { colour } from '~/lib/palette';
import { exact, show } from '~/lib/units';
import { Card } from '~/parts/Card';
import { Nothing } from '~/parts/states';
import css from './Edge.module.css';

interface Part {
  name: string;
  says: string;
  seconds: number;
  colour: number;
}

/** Seconds of open connections by what they were spent on; undefined where the source has no agent. */
export function timeParts(item: EdgeItem): Part[] | undefined {
  const [active, busy] = [item.value('tcp.active'), item.value('tcp.busy')];
  if (active === null || active === undefined || busy === null || busy === undefined) return undefined;
  const receiver = item.value('tcp.blocked_rwnd') ?? 0;
  const buffer = item.value('tcp.blocked_sndbuf') ?? 0;
  return [
    {
      name: 'network',
      says: 'data on the way, waiting for its acknowledgement',
      seconds: Math.max(0, busy - receiver - buffer),
      colour: 0,
    },
    { name: 'receiver blocked', says: 'the receiver’s window was full', seconds: receiver, colour: 3 },
    { name: 'send buffer', says: 'the application’s send buffer was the limit', seconds: buffer, colour: 7 },
    {
      name: 'applications',
      says: 'open with nothing to send: the server works, or the connection rests in a pool',
      seconds: Math.max(0, active - busy),
      colour: 10,
    },
  ];
}

/** Where an edge's time goes, as one bar. */
export function TimeBar({ item }: { item: EdgeItem }) {
  const { dark } = useScheme();
  const parts = timeParts(item);
  const total = parts?.reduce((sum, p) => sum + p.seconds, 0) ?? 0;
  const working = parts?.filter((p) => p !== parts.at(-1)) ?? [];
  const idle = parts?.at(-1);
  const busy = total - (idle?.seconds ?? 0);
  return (
    <Card title="Where its time goes" subtitle="While data was on its way or waited to go, over all connections of the source">
      {!parts || total === 0 ? (
        <Nothing height={80}>No agent at the source in this range, or no connection was open.</Nothing>
      ) : (
        <>
          <div className={css.bar} aria-hidden="true" data-empty={busy <= 0}>
            {working.map(
              (p) =>
                p.seconds > 0 && (
                  <span
                    key={p.name}
                    style={{ flexGrow: p.seconds / busy, background: colour(p.colour, dark) }}
                    title={`${p.name}: ${exact('socket_seconds', p.seconds)}`}
                  />
                ),
            )}
          </div>
          <dl className={css.parts}>
            {working.map((p) => (
              <div key={p.name}>
                <dt>
                  <span className={css.swatch} style={{ background: colour(p.colour, dark) }} />
                  {p.name}
                </dt>
                <dd title={exact('socket_seconds', p.seconds)}>
                  <strong>{show('ratio', busy > 0 ? p.seconds / busy : null)}</strong> <span>{p.says}</span>
                </dd>
              </div>
            ))}
          </dl>
          {idle && (
            <p className={css.idle} title={exact('socket_seconds', idle.seconds)}>
              Beside it, connections were {show('ratio', idle.seconds / total)} of their time {idle.says}.
            </p>
          )}
        </>
      )}
    </Card>
  );
}
