import { Outlet, useLocation, useSearch } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { useStatus } from '~/api/queries';
import { Busy } from '~/parts/states';
import { Banner } from '~/views/banner/Banner';
import { FilterBox, type FilterHandle } from './FilterBox';
import { Help } from './Help';
import { Rail, RailBar } from './Rail';
import { Said } from './Said';
import css from './Shell.module.css';
import type { Shared } from './search';
import { useShortcuts } from './shortcuts';
import { TimePicker } from './TimePicker';
import { TokenGate } from './TokenGate';
import { Tools } from './Tools';
import { useView } from './view';
import { WhyModal } from './WhyModal';

const TITLES: Record<string, string> = { '/': 'Home', '/edges': 'Edges', '/map': 'Map', '/alerts': 'Alerts', '/diagnose': 'Diagnose' };

/** Views of the server's own findings: they are not about some edges, and not compared with anything. */
const FINDINGS = ['/alerts', '/diagnose'];

/** Waits for the server's first word, be it an error: the default range follows from it. */
export function Shell() {
  return useStatus().isFetched ? <Frame /> : <Busy height={400} />;
}

/** The frame of every view: rail at the left, time and filter above, the verdict below them. */
function Frame() {
  const filter = useRef<FilterHandle>(null);
  const [timeOpen, setTimeOpen] = useState(false);
  const [helpOpen, setHelpOpen] = useState(false);
  const view = useView();
  const openWhy = () => view.set({ why: '' });
  useShortcuts({
    focusFilter: () => filter.current?.focus(),
    openTime: () => setTimeOpen(true),
    openHelp: () => setHelpOpen(true),
    openWhy,
  });
  const path = useLocation({ select: (l) => l.pathname });
  useEffect(() => {
    document.title = `${TITLES[path] ?? 'Edge'} · Edgescope`;
  }, [path]);
  const findings = FINDINGS.includes(path);
  useRangeInAddress();
  return (
    <div className={css.shell}>
      <a className={css.skip} href="#main">
        Skip to content
      </a>
      <Rail />
      <div className={css.column}>
        <header className={`${css.bar} no-print`}>
          <TimePicker opened={timeOpen} onChange={setTimeOpen} comparing={!findings} />
          {!findings && <FilterBox ref={filter} />}
          <Tools onHelp={() => setHelpOpen(true)} onWhy={openWhy} />
        </header>
        <Banner />
        <main id="main" className={css.main} tabIndex={-1}>
          <Outlet />
        </main>
      </div>
      <RailBar />
      <Help opened={helpOpen} onClose={() => setHelpOpen(false)} />
      <WhyModal />
      <TokenGate />
      <Said />
    </div>
  );
}

/** Writes the range that was chosen for the reader into the address: a link shows the same to whoever opens it elsewhere. */
function useRangeInAddress(): void {
  const view = useView();
  const given = (useSearch({ strict: false }) as Shared).from !== undefined;
  useEffect(() => {
    if (!given) view.set({ from: view.fromText }, true);
  }, [given, view]);
}
