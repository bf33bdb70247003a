import { Modal } from '@mantine/core';
import { useSearch } from '@tanstack/react-router';
import { lazy, Suspense } from 'react';
import { Busy } from '~/parts/states';
import type { Shared } from './search';
import { useView } from './view';

/** Comes when it is asked for: the first view does without it. */
const Why = lazy(() => import('~/views/why/Why').then((m) => ({ default: m.Why })));

/** The explanation of an address over whatever view is open; the address bar holds the question. */
export function WhyModal() {
  const { why, why_at } = useSearch({ strict: false }) as Shared;
  const view = useView();
  const close = () => view.set({ why: undefined, why_at: undefined });
  return (
    <Modal opened={why !== undefined} onClose={close} title="Whose address" size="lg" closeButtonProps={{ 'aria-label': 'Close' }}>
      <Suspense fallback={<Busy height={120} />}>
        <Why address={why ?? ''} at={why_at} />
      </Suspense>
    </Modal>
  );
}
