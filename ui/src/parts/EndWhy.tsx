import { ActionIcon, Popover } from '@mantine/core';
import { IconHelpCircle } from '@tabler/icons-react';
import { useState } from 'react';
import { useEdges } from '~/api/queries';
import { ask, useView } from '~/app/view';
import { endPoint, foundBy } from '~/lib/names';
import { instant } from '~/lib/time';
import { plural } from '~/lib/units';
import css from './EndWhy.module.css';
import { Busy, Failure } from './states';

interface Props {
  end: 'source' | 'dest';
  /** What the page calls it; empty where it has no name. */
  name: string;
  /** The edges whose end it is. */
  filter: string | undefined;
}

/** As many addresses of an end as a person picks from. */
const SHOWN_MAX = 8;
const ROWS_MAX = 200;

/** A small control beside a name, or the lack of one: how it was found, and the way to who held its address when. */
export function EndWhy(props: Props) {
  const [opened, setOpened] = useState(false);
  const words = `Why ${props.name || 'no name'}`;
  return (
    <Popover opened={opened} onChange={setOpened} position="bottom-start" trapFocus returnFocus withinPortal>
      <Popover.Target>
        <ActionIcon
          className={`${css.ask} no-print`}
          variant="subtle"
          color="gray"
          size="xs"
          aria-label={words}
          title="why this name"
          onClick={() => setOpened((o) => !o)}
        >
          <IconHelpCircle size={14} stroke={1.8} aria-hidden="true" />
        </ActionIcon>
      </Popover.Target>
      <Popover.Dropdown aria-label={words}>{opened && <Ways {...props} close={() => setOpened(false)} />}</Popover.Dropdown>
    </Popover>
  );
}

function Ways({ end, name, filter, close }: Props & { close: () => void }) {
  const view = useView();
  const answer = useEdges(
    ask(view, {
      group: [`${end}.resolution_type`, `${end}.ip`, 'port', 'role'],
      measures: ['tcp.bytes'],
      filter,
      sort: '-tcp.bytes',
      limit: ROWS_MAX,
    }),
  );
  if (answer.error) return <Failure error={answer.error} height={80} />;
  if (!answer.data) return <Busy height={80} />;
  const { rows, groups_total } = answer.data;
  const found = [...new Set(rows.map((r) => r.key[0] ?? ''))].filter((way) => way !== '');
  // The end that serves is asked about with its port: several workloads may share the address.
  const serves = end === 'source' ? 'server' : 'client';
  const ends = new Set(rows.filter((r) => r.key[1]).map((r) => endPoint(r.key[1] ?? '', r.key[3] === serves ? r.key[2] : null)));
  const addresses = [...ends];
  const left = addresses.length - SHOWN_MAX;
  const explain = (why: string) => {
    close();
    // Of a range that stands still its end counts; of a live one the present.
    view.set({ why, why_at: view.range.live ? undefined : instant(view.range.to) });
  };
  return (
    <div className={css.ways}>
      <p className={css.head}>{name === '' ? 'It has no name' : <bdi>{name}</bdi>}</p>
      <p className={css.text}>
        Found by {found.length === 0 ? 'nothing that these rows tell' : <bdi>{found.map(foundBy).join('; ')}</bdi>}.
      </p>
      {addresses.length > 0 ? (
        <ul className={css.addresses} aria-label="Addresses">
          {addresses.slice(0, SHOWN_MAX).map((address) => (
            <li key={address}>
              <button type="button" onClick={() => explain(address)} aria-label={`Explain ${address}`}>
                <bdi>{address}</bdi>
              </button>
            </li>
          ))}
        </ul>
      ) : (
        <p className={css.text}>Rows keep the address of an end without a name only.</p>
      )}
      {(left > 0 || groups_total > rows.length) && (
        <p className={css.text}>{left > 0 ? `and ${plural(left, 'more address', 'more addresses')}` : 'those with most bytes'}</p>
      )}
      <button type="button" className={css.other} onClick={() => explain('')}>
        Ask about an address…
      </button>
    </div>
  );
}
