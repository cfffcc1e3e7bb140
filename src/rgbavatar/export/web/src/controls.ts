// Mouse, touch and keys on the canvas. One pointer circles the head; two, or the right button or shift, move the picture;
// wheel and pinch zoom; a double click puts everything back.

import { RECORDED, type View } from "./camera.ts";
import type { State } from "./state.ts";

const TURN = Math.PI; // radians for a way across the canvas's shorter side
const MOST_PITCH = 1.45; // radians: short of the poles
const ZOOMS = [0.25, 12] as const;
const WHEEL = 0.0015; // of the logarithm of the zoom, for a pixel of the wheel
const KEY_TURN = 0.1; // radians
const KEY_ZOOM = 1.15;

interface Point {
  x: number;
  y: number;
}

export function controlView(canvas: HTMLCanvasElement, state: State): void {
  const down = new Map<number, Point>();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, pointOf(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down.has(event.pointerId)) return;
    const before = gripOf([...down.values()]);
    const from = down.get(event.pointerId)!;
    down.set(event.pointerId, pointOf(event));
    if (down.size > 1) pinch(state, canvas, before, gripOf([...down.values()]));
    else if (event.shiftKey || event.buttons & 2) move(state, canvas, event.clientX - from.x, event.clientY - from.y);
    else circle(state, canvas, event.clientX - from.x, event.clientY - from.y);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"] as const) {
    canvas.addEventListener(end, (event) => down.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1);
    zoom(state, canvas, Math.exp(-pixels * WHEEL), pointOf(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", () => state.turn(RECORDED));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("keydown", (event) => {
    const act = keyActions(state)[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function keyActions(state: State): Record<string, () => void> {
  const { yaw, pitch, zoom } = state.choices.view;
  const tilt = (angle: number) => state.turn({ pitch: clamp(pitch + angle, -MOST_PITCH, MOST_PITCH) });
  return {
    ArrowLeft: () => state.turn({ yaw: yaw - KEY_TURN }),
    ArrowRight: () => state.turn({ yaw: yaw + KEY_TURN }),
    ArrowUp: () => tilt(-KEY_TURN),
    ArrowDown: () => tilt(KEY_TURN),
    "+": () => state.turn({ zoom: clamp(zoom * KEY_ZOOM, ...ZOOMS) }),
    "-": () => state.turn({ zoom: clamp(zoom / KEY_ZOOM, ...ZOOMS) }),
    "0": () => state.turn(RECORDED),
  };
}

function circle(state: State, canvas: HTMLCanvasElement, dx: number, dy: number): void {
  const { yaw, pitch } = state.choices.view;
  const turn = TURN / sideOf(canvas);
  state.turn({ yaw: yaw + dx * turn, pitch: clamp(pitch + dy * turn, -MOST_PITCH, MOST_PITCH) });
}

function move(state: State, canvas: HTMLCanvasElement, dx: number, dy: number): void {
  const { panX, panY } = state.choices.view;
  state.turn({ panX: panX + dx / sideOf(canvas), panY: panY + dy / sideOf(canvas) });
}

// Zoom by a factor with what lies under a point staying there.
function zoom(state: State, canvas: HTMLCanvasElement, factor: number, at: Point): void {
  const { view } = state.choices;
  const after = clamp(view.zoom * factor, ...ZOOMS);
  const box = canvas.getBoundingClientRect();
  const keep = (pan: number, offset: number) => offset - ((offset - pan) * after) / view.zoom;
  const still: Partial<View> = {
    panX: keep(view.panX, (at.x - box.left - box.width / 2) / sideOf(canvas)),
    panY: keep(view.panY, (at.y - box.top - box.height / 2) / sideOf(canvas)),
  };
  state.turn({ zoom: after, ...still });
}

// The middle of the pointers and their distance.
interface Grip extends Point {
  width: number;
}

function gripOf(points: Point[]): Grip {
  const [a, b] = [points[0]!, points.at(-1)!];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, width: Math.hypot(a.x - b.x, a.y - b.y) };
}

function pinch(state: State, canvas: HTMLCanvasElement, before: Grip, after: Grip): void {
  move(state, canvas, after.x - before.x, after.y - before.y);
  if (before.width > 0 && after.width > 0) zoom(state, canvas, after.width / before.width, after);
}

function pointOf(event: MouseEvent): Point {
  return { x: event.clientX, y: event.clientY };
}

function sideOf(canvas: HTMLCanvasElement): number {
  return Math.min(canvas.clientWidth, canvas.clientHeight) || 1;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
