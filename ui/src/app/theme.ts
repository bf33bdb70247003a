import { createTheme, Menu, Modal, Popover, Tooltip } from '@mantine/core';

/** Behaviour of the kit's parts; their colours and sizes are variables in `styles.css`. */
export const theme = createTheme({
  primaryColor: 'indigo',
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Menu: Menu.extend({ defaultProps: { shadow: 'md', transitionProps: { duration: 90 } } }),
    Popover: Popover.extend({ defaultProps: { shadow: 'md', transitionProps: { duration: 90 } } }),
    Tooltip: Tooltip.extend({ defaultProps: { openDelay: 250, transitionProps: { duration: 90 } } }),
    // Locking the page's scroll would need a style element.
    Modal: Modal.extend({ defaultProps: { lockScroll: false, centered: true, transitionProps: { duration: 90 } } }),
  },
});
