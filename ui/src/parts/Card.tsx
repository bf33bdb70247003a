import type { ReactNode } from 'react';
import css from './Card.module.css';

interface Props {
  title: ReactNode;
  subtitle?: ReactNode;
  /** Controls at the right of the title. */
  aside?: ReactNode;
  /** The content reaches the card's border: tables. */
  flush?: boolean;
  id?: string;
  children: ReactNode;
}

export function Card({ title, subtitle, aside, flush, id, children }: Props) {
  return (
    <section className={css.card} id={id}>
      <header className={css.head}>
        <div className={css.titles}>
          <h2 className={css.title}>{title}</h2>
          {subtitle && <p className={css.subtitle}>{subtitle}</p>}
        </div>
        {aside}
      </header>
      <div className={flush ? css.flush : css.body}>{children}</div>
    </section>
  );
}
