import { IconActivityHeartbeat, IconAffiliate, IconArrowsRightLeft, IconBell, IconHome2 } from '@tabler/icons-react';
import { Link } from '@tanstack/react-router';
import { useStatus } from '~/api/queries';
import css from './Rail.module.css';
import { carry } from './search';

export const PLACES = [
  { to: '/', label: 'Home', icon: IconHome2, key: 'h' },
  { to: '/edges', label: 'Edges', icon: IconArrowsRightLeft, key: 'e' },
  { to: '/map', label: 'Map', icon: IconAffiliate, key: 'm' },
  { to: '/alerts', label: 'Alerts', icon: IconBell, key: 'a' },
  { to: '/diagnose', label: 'Diagnose', icon: IconActivityHeartbeat, key: 'd' },
] as const;

function Places() {
  const firing = useStatus().data?.counts.alerts_firing ?? 0;
  return PLACES.map(({ to, label, icon: Icon, key }) => (
    <Link
      key={to}
      to={to}
      search={carry}
      className={css.place}
      activeOptions={{ exact: to === '/', includeSearch: false }}
      aria-keyshortcuts={`g ${key}`}
    >
      <Icon size={18} stroke={1.7} aria-hidden="true" />
      <span>{label}</span>
      {to === '/alerts' && firing > 0 && (
        <span className={css.count} title={`${firing} firing`}>
          {firing}
        </span>
      )}
    </Link>
  ));
}

/** The way between the views, at the left. */
export function Rail() {
  const status = useStatus().data;
  return (
    <nav className={`${css.rail} no-print`} aria-label="Views">
      <Link to="/" search={carry} className={css.brand} aria-label="Edgescope, home">
        <img src="/favicon.svg" alt="" width={22} height={22} />
        <span>Edgescope</span>
      </Link>
      <Places />
      <div className={css.foot}>{status ? `v${status.version}` : ''}</div>
    </nav>
  );
}

/** The same at the lower end of a narrow screen. */
export function RailBar() {
  return (
    <nav className={`${css.railBar} no-print`} aria-label="Views">
      <Places />
    </nav>
  );
}
