import { useNavigate } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { PLACES } from './Rail';
import { carry } from './search';

interface Actions {
  focusFilter: () => void;
  openTime: () => void;
  openHelp: () => void;
  openWhy: () => void;
}

/** How long `g` waits for its second key. */
const CHORD_MS = 1200;

/** Inputs that take no text: a letter pressed on them is nobody's. */
const BUTTONS = ['radio', 'checkbox', 'button', 'submit', 'reset', 'range'];

/** Whether what is typed goes into it. */
export function takesText(target: HTMLElement): boolean {
  if (target.tagName === 'INPUT') return !BUTTONS.includes((target as HTMLInputElement).type);
  return target.isContentEditable || target.tagName === 'TEXTAREA' || target.tagName === 'SELECT';
}

/** Keys that work everywhere but where text is written: `/`, `t`, `w`, `?`, `g` and a view's letter. */
export function useShortcuts(actions: Actions): void {
  const navigate = useNavigate();
  const kept = useRef(actions);
  kept.current = actions;
  useEffect(() => {
    let chordAt = 0;
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || takesText(target)) return;
      if (chordAt > 0 && event.timeStamp - chordAt < CHORD_MS) {
        chordAt = 0;
        const place = PLACES.find((p) => p.key === event.key);
        if (place) {
          event.preventDefault();
          void navigate({ to: place.to, search: carry });
        }
        return;
      }
      chordAt = event.key === 'g' ? event.timeStamp : 0;
      const action = { '/': kept.current.focusFilter, t: kept.current.openTime, w: kept.current.openWhy, '?': kept.current.openHelp }[
        event.key
      ];
      if (!action) return;
      event.preventDefault();
      action();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [navigate]);
}
