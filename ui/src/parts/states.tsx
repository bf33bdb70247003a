/** What a view says while it has nothing to show: it loads, it failed, there is nothing; and what mends it. */
import { Button } from '@mantine/core';
import { IconPlugConnectedX, IconTerminal2 } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { ApiError } from '~/api/client';
import { copy } from './copy';
import css from './states.module.css';

export function Busy({ height = 120 }: { height?: number }) {
  return (
    <div className={css.state} style={{ height }} role="status" aria-label="loading">
      <div className={css.busy} />
    </div>
  );
}

export function Nothing({ height, children }: { height?: number; children: ReactNode }) {
  return (
    <div className={css.state} style={{ minHeight: height }}>
      <span>{children}</span>
    </div>
  );
}

/** An error as the server words it, with what to do. */
export function Failure({ error, height }: { error: Error; height?: number }) {
  const client = useQueryClient();
  const problem = error instanceof ApiError ? error.problem : { error: error.message };
  const wrong = error instanceof ApiError && error.status >= 400 && error.status < 500;
  return (
    <div className={css.state} style={{ minHeight: height }} role="alert">
      <IconPlugConnectedX size={20} aria-hidden="true" />
      <strong className={css.problem}>{problem.error}</strong>
      {problem.remedy && <span>{problem.remedy}</span>}
      {!wrong && (
        <Button size="compact-sm" variant="default" onClick={() => void client.refetchQueries()}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** A whole view without data: what is missing, and the command that mends it. */
export function Missing({
  title,
  children,
  commands,
}: {
  title: string;
  children: ReactNode;
  commands: { command: string; does: string }[];
}) {
  return (
    <section className={css.missing}>
      <h2>{title}</h2>
      <p>{children}</p>
      <ul>
        {commands.map(({ command, does }) => (
          <li key={command}>
            <button type="button" className={css.command} onClick={() => copy(command, 'Command copied')} title="copy">
              <IconTerminal2 size={15} aria-hidden="true" />
              <code>{command}</code>
            </button>
            <span>{does}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Nothing has ever reported to this server. */
export function NoAgents() {
  return (
    <Missing
      title="No agent has reported yet"
      commands={[
        { command: 'edgescope up', does: 'watches this host' },
        { command: `edgescope agent --server ${location.hostname}:8101`, does: 'watches another host, run there' },
        { command: 'edgescope demo', does: 'shows the whole story on a small shop of its own' },
      ]}
    >
      Edges appear here within a few windows of ten seconds after the first agent connects.
    </Missing>
  );
}
