import { useEffect, useState } from 'react';
import { onSaid } from '~/parts/copy';
import css from './Said.module.css';

const SHOWN_MS = 1800;

/** A short word that something happened, at the lower edge. */
export function Said() {
  const [text, setText] = useState('');
  useEffect(() => onSaid(setText), []);
  useEffect(() => {
    if (!text) return;
    const timer = setTimeout(() => setText(''), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <div className={css.said} role="status" data-shown={text !== ''}>
      {text}
    </div>
  );
}
