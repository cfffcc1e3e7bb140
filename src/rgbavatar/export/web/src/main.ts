// Starts the page, and offers it to scripts as `window.rgbavatar`.

import { Avatar } from "./avatar.ts";
import { makeBar } from "./bar.ts";
import { controlView } from "./controls.ts";
import { make } from "./dom.ts";
import { makePanel } from "./panel.ts";
import { readPayload } from "./payload.ts";
import type { Picture } from "./renderer.ts";
import { Stage, type PictureOptions } from "./stage.ts";
import { State } from "./state.ts";

interface Api {
  frames: number[]; // their numbers
  readonly frame: number; // the number of the one that is shown
  show(number: number): void; // and stop playing
  play(): void;
  pause(): void;
  picture(number: number, options?: PictureOptions): Picture; // as it was recorded; over black unless told otherwise
}

declare global {
  interface Window {
    rgbavatar?: Api;
  }
}

const RATE_PERIOD = 250; // milliseconds from one writing of the rate to the next

async function start(app: HTMLElement): Promise<void> {
  const data = document.getElementById("payload")!;
  const loading = make("p", { className: "message", role: "status" }, "Unpacking the avatar…");
  app.append(loading);
  const payload = await readPayload(data.textContent!.trim());
  data.remove(); // megabytes of text
  const avatar = new Avatar(payload);
  const state = new State(avatar);
  const canvas = make("canvas", { tabIndex: 0, role: "img" });
  canvas.ariaLabel = `Head avatar of ${payload.header.subject}. Arrow keys turn it, plus and minus zoom, 0 puts it back.`;
  const rate = make("output", { className: "rate", ariaLabel: "Pictures per second" });
  loading.remove();
  const notice = make("p", { className: "message", role: "status" }, "The graphics were interrupted. They should come back in a moment.");
  app.append(make("div", { className: "stage" }, canvas, notice), makeBar(avatar, state, app, rate), makePanel(avatar, state));
  const stage = new Stage(canvas, avatar, state, notice, (error) => fail(app, error));
  controlView(canvas, state);
  playOnSpace(state);
  setInterval(() => (rate.value = describeRate(stage.rate(performance.now()))), RATE_PERIOD);
  window.rgbavatar = makeApi(avatar, state, stage);
}

function makeApi(avatar: Avatar, state: State, stage: Stage): Api {
  const find = (number: number) => {
    const frame = avatar.numbers.indexOf(number);
    if (frame < 0) throw new RangeError(`the page has no frame ${number}`);
    return frame;
  };
  return {
    frames: avatar.numbers,
    get frame() {
      return avatar.numbers[state.choices.frame]!;
    },
    show: (number) => state.change({ playing: false, frame: find(number) }),
    play: () => state.change({ playing: true }),
    pause: () => state.change({ playing: false }),
    picture: (number, options = {}) => stage.picture(find(number), options),
  };
}

function playOnSpace(state: State): void {
  addEventListener("keydown", (event) => {
    const onControl = event.target instanceof Element && event.target.closest("button, input, select");
    if (event.key !== " " || onControl) return;
    event.preventDefault();
    state.change({ playing: !state.choices.playing });
  });
}

function describeRate(rate: number): string {
  return rate > 1 ? `${rate} fps` : "still";
}

function fail(app: HTMLElement, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  app.replaceChildren(make("p", { className: "message", role: "alert" }, reason));
}

const app = document.getElementById("app")!;
start(app).catch((error: unknown) => fail(app, error));
