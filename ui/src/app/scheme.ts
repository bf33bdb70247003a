/** Light or dark: the reader's choice, else the system's. `public/scheme.js` sets the same before the first paint. */
import { useComputedColorScheme, useMantineColorScheme } from '@mantine/core';

export const SCHEME_KEY = 'edgescope-scheme';

export function useScheme(): { dark: boolean; toggle: () => void } {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light') === 'dark';
  return { dark, toggle: () => setColorScheme(dark ? 'light' : 'dark') };
}
