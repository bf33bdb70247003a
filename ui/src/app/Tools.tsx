import { ActionIcon, Tooltip } from '@mantine/core';
import { IconKeyboard, IconMapPinQuestion, IconMoon, IconSun } from '@tabler/icons-react';
import { useStatus } from '~/api/queries';
import { Tag } from '~/parts/marks';
import { useScheme } from './scheme';
import css from './TopBar.module.css';

/** The right end of the bar: what kind of data this is, theme, help. */
export function Tools({ onHelp, onWhy }: { onHelp: () => void; onWhy: () => void }) {
  const { dark, toggle } = useScheme();
  const status = useStatus().data;
  return (
    <div className={css.tools}>
      {status?.simulated && (
        <Tag tone="warn" title="Made by the simulator, not measured: this host lacks root or BPF">
          Simulated
        </Tag>
      )}
      {status?.insecure && (
        <Tag tone="warn" title="This server is open to the network without TLS and tokens (insecure: true)">
          Insecure
        </Tag>
      )}
      <Tooltip label="Whose address (w)">
        <ActionIcon variant="subtle" color="gray" size="lg" onClick={onWhy} aria-label="Whose address">
          <IconMapPinQuestion size={18} stroke={1.7} />
        </ActionIcon>
      </Tooltip>
      <Tooltip label={dark ? 'Light' : 'Dark'}>
        <ActionIcon variant="subtle" color="gray" size="lg" onClick={toggle} aria-label={dark ? 'Light theme' : 'Dark theme'}>
          {dark ? <IconSun size={18} stroke={1.7} /> : <IconMoon size={18} stroke={1.7} />}
        </ActionIcon>
      </Tooltip>
      <Tooltip label="Keys and filters (?)">
        <ActionIcon className={css.wide} variant="subtle" color="gray" size="lg" onClick={onHelp} aria-label="Keys and filters">
          <IconKeyboard size={18} stroke={1.7} />
        </ActionIcon>
      </Tooltip>
    </div>
  );
}
