/** Light or dark: the reader's choice, else the system's. `public/scheme.js` sets the same before the first paint. */
import { useComputedColorScheme, useMantineColorScheme } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';

export const SCHEME_KEY = 'edgescope-scheme';

export function useScheme(): { dark: boolean; toggle: () => void } {
  const { setColorScheme } = useMantineColorScheme();
  const chosen = useComputedColorScheme('light') === 'dark';
  // Paper is white: what is drawn on canvases must be, too.
  const printed = useMediaQuery('print', false, { getInitialValueInEffect: false });
  return { dark: chosen && !printed, toggle: () => setColorScheme(chosen ? 'light' : 'dark') };
}
