import { Link } from '@tanstack/react-router';
import { Nothing } from '~/parts/states';
import { carry } from './search';

export function Lost() {
  return (
    <Nothing height={240}>
      There is no such page.{' '}
      <Link to="/" search={carry}>
        Home
      </Link>
    </Nothing>
  );
}
