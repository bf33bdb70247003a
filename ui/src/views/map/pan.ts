/** Moving and zooming of the map by mouse, wheel, two fingers and button. One finger scrolls the page, as everywhere on it. */
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

/** The look zoomed so that what lay under `from` lies under `to`; both in pixels from the middle of the picture. */
export function zoomed(old: Look, by: number, from: Place, to: Place): Look {
  const scale = bounded(old.scale * by);
  return { scale, x: old.x + from.x / old.scale - to.x / scale, y: old.y + from.y / old.scale - to.y / scale };
}

/** Two fingers: the point between them, from the middle of the picture, and how far they are apart. */
function grip(svg: SVGSVGElement, touches: TouchList): { middle: Place; apart: number } | undefined {
  const [a, b] = [touches[0], touches[1]];
  if (!a || !b) return undefined;
  const box = svg.getBoundingClientRect();
  const middle = { x: (a.clientX + b.clientX) / 2 - box.left - box.width / 2, y: (a.clientY + b.clientY) / 2 - box.top - box.height / 2 };
  return { middle, apart: Math.max(1, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY)) };
}

/** @param subject what the map is of: with another one the whole of it is shown again, else a place that was chosen stays */
export function usePan(layout: Layout, width: number, height: number, subject: string) {
  const [look, setLook] = useState<Look>({ x: 0, y: 0, scale: 1 });
  const ref = useRef<SVGSVGElement>(null);
  const drag = useRef<{ id: number; x: number; y: number; moved: boolean } | undefined>(undefined);
  /** What was shown when somebody moved it. */
  const moved = useRef<string>(undefined);
  const frame = `${subject} ${width} ${height}`;
  const move = useCallback(
    (next: (old: Look) => Look) => {
      moved.current = frame;
      setLook(next);
    },
    [frame],
  );
  const fit = useCallback(() => {
    moved.current = undefined;
    setLook(whole(layout, width, height));
  }, [layout, width, height]);
  useLayoutEffect(() => {
    if (moved.current !== frame) fit();
  }, [frame, fit]);

  const drawn = width > 0;
  // React's own listeners for wheel and touch are passive and could not keep the page from scrolling.
  useEffect(() => {
    const svg = ref.current;
    if (!svg || !drawn) return;
    let held: ReturnType<typeof grip>;
    const onWheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      const at = { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
      // The point under the mouse stays under it.
      move((old) => zoomed(old, 1.0015 ** -event.deltaY, at, at));
    };
    const onTouch = (event: TouchEvent) => {
      const now = grip(svg, event.touches);
      if (now) event.preventDefault();
      const before = held;
      held = now;
      if (now && before && event.type === 'touchmove') move((old) => zoomed(old, now.apart / before.apart, before.middle, now.middle));
    };
    const touches = ['touchstart', 'touchmove', 'touchend', 'touchcancel'] as const;
    svg.addEventListener('wheel', onWheel, { passive: false });
    for (const name of touches) svg.addEventListener(name, onTouch, { passive: false });
    return () => {
      svg.removeEventListener('wheel', onWheel);
      for (const name of touches) svg.removeEventListener(name, onTouch);
    };
  }, [drawn, move]);

  const handlers = {
    onPointerDown: (e: PointerEvent) => {
      if (e.button === 0 && e.pointerType !== 'touch') drag.current = { id: e.pointerId, x: e.clientX, y: e.clientY, moved: false };
    },
    onPointerMove: (e: PointerEvent<SVGSVGElement>) => {
      const held = drag.current;
      if (held?.id !== e.pointerId) return;
      const [dx, dy] = [e.clientX - held.x, e.clientY - held.y];
      if (!held.moved && Math.hypot(dx, dy) < DRAG_PX) return;
      if (!held.moved) e.currentTarget.setPointerCapture(e.pointerId);
      drag.current = { id: held.id, x: e.clientX, y: e.clientY, moved: true };
      move((old) => ({ ...old, x: old.x - dx / old.scale, y: old.y - dy / old.scale }));
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
    zoom: (by: number) => move((old) => ({ ...old, scale: bounded(old.scale * by) })),
    centre: (at: Place) => move((old) => ({ scale: Math.max(old.scale, 1), x: at.x, y: at.y })),
  };
}
