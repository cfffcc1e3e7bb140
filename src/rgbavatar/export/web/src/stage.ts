// The loop that keeps the canvas up to date: plays the frames, begins scenes, shows those that are ready.

import type { Avatar } from "./avatar.ts";
import { cameraOf, RECORDED, type View } from "./camera.ts";
import { Renderer, type Color, type Picture, type Scene } from "./renderer.ts";
import type { State } from "./state.ts";

const MOST_PIXEL_RATIO = 2; // pixels of the picture for one of the page; more is not seen
const LEAST_PIXEL_RATIO = 0.5;
const SLOW = 70; // milliseconds from a scene's beginning to its picture; with two under way, some 30 pictures a second
const SLOW_PICTURES = 20; // in a row, before automatic detail goes down
const DETAIL_STEP = 0.8;
const METER = 1000; // milliseconds over which the rate is measured

export interface PictureOptions {
  added?: number[]; // to the weights
  background?: string;
  view?: Partial<View>;
}

export class Stage {
  private renderer: Renderer | null = null;
  private changed = true;
  private playedAt = 0; // when the shown frame began to be played, milliseconds
  private automatic = MOST_PIXEL_RATIO;
  private slow = 0; // pictures in a row that came late
  private begun: number[] = []; // when the scenes under way were begun, the oldest first
  private times: number[] = []; // of the last pictures

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly avatar: Avatar,
    private readonly state: State,
    private readonly notice: HTMLElement, // shown while there are no graphics
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.open();
    state.follow(() => (this.changed = true));
    new ResizeObserver(() => (this.changed = true)).observe(canvas);
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // or it would not be restored
      this.renderer = null;
      this.notice.hidden = false;
    });
    canvas.addEventListener("webglcontextrestored", () => this.guard(() => this.open()));
    requestAnimationFrame(this.tick);
  }

  // Pictures in the last second; 0 while nothing moves.
  rate(now: number): number {
    this.times = this.times.filter((time) => now - time < METER);
    return this.times.length;
  }

  // A frame as it was recorded, over what the options say, at the recorded size.
  picture(frame: number, options: PictureOptions): Picture {
    if (!this.renderer) throw new Error("there is no WebGL at the moment");
    const { width, height } = this.avatar.payload.header;
    const added = options.added ?? [];
    return this.renderer.picture({
      frame,
      weights: this.avatar.weights(frame).map((weight, k) => weight + (added[k] ?? 0)),
      camera: cameraOf(this.avatar, frame, { ...RECORDED, ...options.view }, width, height),
      scale: 1,
      background: toColor(options.background ?? "#000000"),
    });
  }

  private open(): void {
    const gl = this.canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
    if (!gl) throw new Error("This browser has no WebGL2, which the page needs. A current browser with graphics acceleration has.");
    if (gl.isContextLost()) return;
    this.renderer = new Renderer(gl, this.avatar);
    this.begun = [];
    this.notice.hidden = true;
    this.changed = true;
  }

  private readonly tick = (now: number): void => {
    requestAnimationFrame(this.tick);
    if (this.renderer) this.guard(() => this.step(now));
  };

  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.renderer = null;
      this.onFailure(error);
    }
  }

  private step(now: number): void {
    if (this.renderer!.finish()) this.note(now);
    this.play(now);
    if (!this.changed || this.canvas.clientWidth === 0 || !this.renderer!.start(this.scene())) return;
    this.changed = false;
    this.begun.push(now);
  }

  private play(now: number): void {
    const { playing, speed, frame } = this.state.choices;
    const passed = Math.floor(((now - this.playedAt) * speed) / 1000);
    if (!playing || passed > speed) this.playedAt = now; // it has just begun, or the page was hidden
    else if (passed > 0) {
      this.playedAt += (passed * 1000) / speed;
      this.state.show(frame + passed);
    }
  }

  private scene(): Scene {
    const { frame, view, scale, background } = this.state.choices;
    const ratio = this.pixelRatio();
    const width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    return {
      frame,
      weights: this.state.weights(),
      camera: cameraOf(this.avatar, frame, view, width, height),
      scale,
      background: toColor(background),
    };
  }

  private pixelRatio(): number {
    const full = Math.min(window.devicePixelRatio, MOST_PIXEL_RATIO);
    const { detail } = this.state.choices;
    return detail === "full" ? full : detail === "half" ? full / 2 : Math.min(full, this.automatic);
  }

  // A picture was shown; where many in a row come late, automatic detail goes down.
  private note(now: number): void {
    this.times.push(now);
    const late = now - (this.begun.shift() ?? now) > SLOW;
    this.slow = late ? this.slow + 1 : 0;
    if (this.slow < SLOW_PICTURES) return;
    this.slow = 0;
    this.automatic = Math.max(LEAST_PIXEL_RATIO, Math.min(window.devicePixelRatio, this.automatic) * DETAIL_STEP);
  }
}

function toColor(hex: string): Color {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255) as Color;
}
