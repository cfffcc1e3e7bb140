// What the viewer has chosen, and who wants to hear of it.

import type { Avatar } from "./avatar.ts";
import { RECORDED, type View } from "./camera.ts";

export const DETAILS = { auto: "Automatic", full: "Full", half: "Half" } as const;
export type Detail = keyof typeof DETAILS;

export interface Choices {
  frame: number; // index, from 0
  playing: boolean;
  speed: number; // frames in a second of playing
  view: View;
  added: Float32Array; // [K]: to the weights of the bases
  held: Float32Array | null; // [K]: weights that take the place of the network's
  scale: number; // factor of the Gaussians' size
  background: string; // #rrggbb
  detail: Detail;
}

type Listener = (choices: Readonly<Choices>) => void;

export class State {
  choices: Readonly<Choices>;
  private readonly listeners: Listener[] = [];

  constructor(private readonly avatar: Avatar) {
    this.choices = {
      frame: 0,
      playing: avatar.frames > 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches,
      speed: 25,
      view: { ...RECORDED },
      added: new Float32Array(avatar.bases),
      held: null,
      scale: 1,
      background: "#1c2027",
      detail: "auto",
    };
  }

  change(some: Partial<Choices>): void {
    this.choices = { ...this.choices, ...some };
    this.listeners.forEach((listener) => listener(this.choices));
  }

  // Call the listener now and after each change.
  follow(listener: Listener): void {
    this.listeners.push(listener);
    listener(this.choices);
  }

  turn(some: Partial<View>): void {
    this.change({ view: { ...this.choices.view, ...some } });
  }

  add(basis: number, weight: number): void {
    const added = this.choices.added.slice();
    added[basis] = weight;
    this.change({ added });
  }

  freeze(frozen: boolean): void {
    this.change({ held: frozen ? this.avatar.weights(this.choices.frame) : null });
  }

  // A frame by index; beyond the ends it goes round.
  show(frame: number): void {
    this.change({ frame: ((frame % this.avatar.frames) + this.avatar.frames) % this.avatar.frames });
  }

  // The weights [K] that the picture is made with.
  weights(): Float32Array {
    const own = this.choices.held ?? this.avatar.weights(this.choices.frame);
    return own.map((weight, k) => weight + this.choices.added[k]!);
  }
}
