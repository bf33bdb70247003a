import { Button, TextInput } from '@mantine/core';
import { IconTerminal2 } from '@tabler/icons-react';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { useWhy } from '~/api/queries';
import type { Why as Answer, Claim } from '~/api/types';
import { useView } from '~/app/view';
import { shellQuote } from '~/lib/export';
import { endPoint, foundBy } from '~/lib/names';
import { instant, local, written } from '~/lib/time';
import { plural } from '~/lib/units';
import { copy } from '~/parts/copy';
import { Moment, Name, Tag } from '~/parts/marks';
import { Busy, Failure } from '~/parts/states';
import css from './Why.module.css';

/** Whose address it is, by what the name was found, and who held it when; for any address at any time that is remembered. */
export function Why({ address, at }: { address: string; at: string | undefined }) {
  const answer = useWhy(address, at);
  return (
    <div className={css.why}>
      <Ask key={`${address} ${at}`} address={address} at={at} />
      {address === '' ? (
        <p className={css.hint}>
          Write the port, too, where several workloads share the address: the one that the end serves. Names are remembered for a day.
        </p>
      ) : answer.error ? (
        <Failure error={answer.error} height={80} />
      ) : !answer.data ? (
        <Busy height={80} />
      ) : (
        <Told answer={answer.data} asked={address} at={at} />
      )}
    </div>
  );
}

/** `2026-11-22 14:02:30` in the reader's zone, of whatever way the address bar has it. */
function asWritten(at: string | undefined): string {
  if (!at) return 'now';
  const moment = new Date(at);
  return /^\d{4}-/.test(at) && !Number.isNaN(moment.getTime()) ? local(moment) : at;
}

function Ask({ address, at }: { address: string; at: string | undefined }) {
  const view = useView();
  const [end, setEnd] = useState(address);
  const [when, setWhen] = useState(asWritten(at));
  const [wrong, setWrong] = useState<string>();
  const input = useRef<HTMLInputElement>(null);
  // This view comes a moment after its frame, which has then given the keyboard to its own button.
  useEffect(() => {
    if (address === '') input.current?.focus();
  }, [address]);
  const ask = (event: FormEvent) => {
    event.preventDefault();
    const text = when.trim() || 'now';
    const moment = written(text, new Date());
    if (end.trim() === '') return setWrong('write an address such as 10.0.0.5:443');
    if (!moment) return setWrong(`cannot read '${text}': write now, -2h, 14:02 or 2026-01-31 14:02`);
    setWrong(undefined);
    const kept = text === 'now' ? undefined : text.startsWith('-') ? text : instant(moment);
    view.set({ why: end.trim(), why_at: kept });
  };
  return (
    <form className={css.ask} onSubmit={ask}>
      <TextInput
        ref={input}
        className={css.mono}
        size="xs"
        label="Address"
        placeholder="10.0.0.5:443 or [fd00::5]:443"
        value={end}
        spellCheck={false}
        autoComplete="off"
        onChange={(e) => setEnd(e.currentTarget.value)}
      />
      <TextInput size="xs" label="At" value={when} autoComplete="off" onChange={(e) => setWhen(e.currentTarget.value)} />
      <Button type="submit" size="xs" variant="default">
        Explain
      </Button>
      {wrong && (
        <div className={css.wrong} role="alert">
          {wrong}
        </div>
      )}
    </form>
  );
}

const FIELDS = ['pod', 'node', 'zone', 'region', 'environment', 'process', 'image'] as const;

function Told({ answer, asked, at }: { answer: Answer; asked: string; at: string | undefined }) {
  const { name, claims } = answer;
  const called = answer.named ? name.workload : name.node;
  const given = FIELDS.filter((f) => name[f]);
  const command = `edgescope why ${shellQuote(asked)}${at ? ` --at ${shellQuote(at)}` : ''}`;
  return (
    <>
      <div aria-live="polite">
        <p className={css.is}>
          <bdi>{endPoint(answer.address, answer.port)}</bdi> {answer.named ? 'is' : 'is shared on'}{' '}
          <strong>
            {name.namespace && (
              <>
                <bdi>{name.namespace}</bdi>/
              </>
            )}
            {called ? <bdi>{called}</bdi> : <span className={css.nobody}>nobody</span>}
          </strong>{' '}
          at <Moment at={answer.at} /> <Tag>{answer.owned ? 'an agent is there' : 'no agent there'}</Tag>
        </p>
        <p className={css.reason}>
          <bdi>{answer.reason}</bdi>
        </p>
      </div>
      <dl className={css.facts}>
        <div>
          <dt>Found by</dt>
          <dd>
            <bdi>{foundBy(name.resolution_type ?? '')}</bdi>
          </dd>
        </div>
        {given.map((field) => (
          <div key={field}>
            <dt>{field.charAt(0).toUpperCase() + field.slice(1)}</dt>
            <dd>
              <bdi>{name[field]}</bdi>
            </dd>
          </div>
        ))}
      </dl>
      <h3 className={css.head}>Who held it</h3>
      {claims.length === 0 ? (
        <p className={css.hint}>Nobody, as far as is remembered: no agent and no pod ever said that the address is its own.</p>
      ) : (
        <ul className={css.claims} aria-label="Who held it">
          {claims.map((claim, i) => (
            // The order is the server's, and nothing is kept in a line.
            // biome-ignore lint/suspicious/noArrayIndexKey: claims have no name of their own
            <Held key={i} claim={claim} />
          ))}
        </ul>
      )}
      {answer.claims_total > claims.length && <p className={css.hint}>and {plural(answer.claims_total - claims.length, 'more claim')}</p>}
      <button
        type="button"
        className={css.command}
        onClick={() => copy(command, 'Command copied')}
        title="copy the command that says the same"
      >
        <IconTerminal2 size={14} aria-hidden="true" />
        <code>
          <bdi>{command}</bdi>
        </code>
      </button>
    </>
  );
}

/** One word on who has the address, and from when until when. */
function Held({ claim }: { claim: Claim }) {
  const { owner } = claim;
  return (
    <li data-open={claim.open}>
      <div className={css.who}>
        {claim.port !== 0 && <Tag title="the port that it serves">port {claim.port}</Tag>}
        {claim.shared ? <span className={css.shared}>several workloads</span> : <Name text={owner.workload ?? ''} strong />}
        {(['pod', 'node'] as const).map((part) => (
          <bdi key={part} className={css.place} title={part}>
            {owner[part]}
          </bdi>
        ))}
      </div>
      <div className={css.when}>
        <Moment at={claim.from} /> – {claim.open ? 'now' : <Moment at={claim.until} />} · said by <bdi>{claim.agent}</bdi>
        {!claim.shared && owner.resolution_type && (
          <>
            {' '}
            · by <bdi>{foundBy(owner.resolution_type)}</bdi>
          </>
        )}
      </div>
    </li>
  );
}
