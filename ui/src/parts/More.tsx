import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { carry } from '~/app/search';
import css from './More.module.css';

/** A quiet link to the view that shows it all. */
export function More({ to, children }: { to: '/edges' | '/alerts' | '/diagnose' | '/map'; children: ReactNode }) {
  return (
    <Link className={css.more} to={to} search={carry}>
      {children} <span aria-hidden="true">→</span>
    </Link>
  );
}
