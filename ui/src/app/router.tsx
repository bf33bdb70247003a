import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { Home } from '~/views/home/Home';
import { Lost } from './Lost';
import { Shell } from './Shell';
import {
  alertsSearch,
  diagnoseSearch,
  edgeSearch,
  edgesSearch,
  homeSearch,
  mapSearch,
  parseSearch,
  shared,
  stringifySearch,
} from './search';

const root = createRootRoute({ validateSearch: shared, component: Shell, notFoundComponent: Lost });

// The first view is in the first bundle; the others come when they are asked for.
const home = createRoute({ getParentRoute: () => root, path: '/', validateSearch: homeSearch, component: Home });
const edges = createRoute({
  getParentRoute: () => root,
  path: '/edges',
  validateSearch: edgesSearch,
  component: lazyRouteComponent(() => import('~/views/edges/Edges'), 'Edges'),
});
const edge = createRoute({
  getParentRoute: () => root,
  path: '/edges/$source/$dest',
  validateSearch: edgeSearch,
  component: lazyRouteComponent(() => import('~/views/edge/Edge'), 'Edge'),
});
const map = createRoute({
  getParentRoute: () => root,
  path: '/map',
  validateSearch: mapSearch,
  component: lazyRouteComponent(() => import('~/views/map/MapView'), 'MapView'),
});
const alerts = createRoute({
  getParentRoute: () => root,
  path: '/alerts',
  validateSearch: alertsSearch,
  component: lazyRouteComponent(() => import('~/views/alerts/Alerts'), 'Alerts'),
});
const diagnose = createRoute({
  getParentRoute: () => root,
  path: '/diagnose',
  validateSearch: diagnoseSearch,
  component: lazyRouteComponent(() => import('~/views/diagnose/Diagnose'), 'Diagnose'),
});

export const router = createRouter({
  routeTree: root.addChildren([home, edges, edge, map, alerts, diagnose]),
  parseSearch,
  stringifySearch,
  defaultPreload: 'intent',
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
