/** Moving and zooming of the map by mouse, wheel, finger and button. */
import { type PointerEvent, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { Layout, Place } from './layout';

interface Look {
  /** Middle of what is seen, in the map's units. */
  x: number;
  y: number;
  /** Pixels of the page to a unit of the map. */
  scale: number;
}

const SCALE_LEAST = 0.08;
const SCALE_MOST = 4;
/** A small map is not blown up beyond this. */
const FIT_MOST = 1.35;
/** Farther than this, a press was a drag. */
const DRAG_PX = 4;

const bounded = (scale: number) => Math.min(SCALE_MOST, Math.max(SCALE_LEAST, scale));

function whole(layout: Layout, width: number, height: number): Look {
  const scale = Math.min(FIT_MOST, width / Math.max(1, layout.width), height / Math.max(1, layout.height));
  return { x: layout.width / 2, y: layout.height / 2, scale: bounded(scale) };
}

export function usePan(layout: Layout, width: number, height: number) {
  const [look, setLook] = useState<Look>({ x: 0, y: 0, scale: 1 });
  const ref = useRef<SVGSVGElement>(null);
  const drag = useRef<{ id: number; x: number; y: number; moved: boolean } | undefined>(undefined);
  const fit = useCallback(() => setLook(whole(layout, width, height)), [layout, width, height]);
  useLayoutEffect(fit, [fit]);

  const drawn = width > 0;
  // React's own wheel listener is passive and could not keep the page from scrolling.
  useEffect(() => {
    const svg = ref.current;
    if (!svg || !drawn) return;
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      const [px, py] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
      setLook((old) => {
        const scale = bounded(old.scale * 1.0015 ** -event.deltaY);
        // The point under the mouse stays under it.
        return { scale, x: old.x + px / old.scale - px / scale, y: old.y + py / old.scale - py / scale };
      });
    };
    svg.addEventListener('wheel', onWheel, { passive: false });
    return () => svg.removeEventListener('wheel', onWheel);
  }, [drawn]);

  const handlers = {
    onPointerDown: (e: PointerEvent) => {
      if (e.button === 0) drag.current = { id: e.pointerId, x: e.clientX, y: e.clientY, moved: false };
    },
    onPointerMove: (e: PointerEvent<SVGSVGElement>) => {
      const held = drag.current;
      if (held?.id !== e.pointerId) return;
      const [dx, dy] = [e.clientX - held.x, e.clientY - held.y];
      if (!held.moved && Math.hypot(dx, dy) < DRAG_PX) return;
      if (!held.moved) e.currentTarget.setPointerCapture(e.pointerId);
      drag.current = { id: held.id, x: e.clientX, y: e.clientY, moved: true };
      setLook((old) => ({ ...old, x: old.x - dx / old.scale, y: old.y - dy / old.scale }));
    },
    onPointerUp: () => {
      if (!drag.current?.moved) drag.current = undefined;
    },
    onPointerCancel: () => {
      drag.current = undefined;
    },
    // The click that ends a drag picks nothing.
    onClickCapture: (e: React.MouseEvent) => {
      if (drag.current?.moved) e.stopPropagation();
      drag.current = undefined;
    },
  };
  const [w, h] = [width / look.scale, height / look.scale];
  return {
    ref,
    handlers,
    viewBox: `${look.x - w / 2} ${look.y - h / 2} ${w} ${h}`,
    fit,
    zoom: (by: number) => setLook((old) => ({ ...old, scale: bounded(old.scale * by) })),
    centre: (at: Place) => setLook((old) => ({ scale: Math.max(old.scale, 1), x: at.x, y: at.y })),
  };
}
