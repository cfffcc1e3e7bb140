// The bar below the canvas: play, scrub, and what is shown.

import type { Avatar } from "./avatar.ts";
import { icon, make } from "./dom.ts";
import type { State } from "./state.ts";

const PLAY = "M8 5v14l11-7z";
const PAUSE = "M7 5h4v14H7zM13 5h4v14h-4z";
const SETTINGS = "M3 6h10v2H3zM17 6h4v2h-4zM14 4h2v6h-2zM3 16h4v2H3zM11 16h10v2H11zM8 14h2v6H8z";

export function makeBar(avatar: Avatar, state: State, app: HTMLElement, rate: HTMLElement): HTMLElement {
  const shown = make("output", { className: "shown" });
  const scrub = make("input", { type: "range", className: "scrub", min: "0", max: String(avatar.frames - 1), step: "1" });
  scrub.ariaLabel = "Frame";
  scrub.addEventListener("input", () => state.change({ playing: false, frame: scrub.valueAsNumber }));
  const play = make("button", { type: "button", className: "round" });
  play.addEventListener("click", () => state.change({ playing: !state.choices.playing }));
  play.disabled = avatar.frames < 2;
  scrub.disabled = avatar.frames < 2;
  let drawn: boolean | null = null;
  state.follow(({ frame, playing }) => {
    scrub.valueAsNumber = frame;
    scrub.ariaValueText = `frame ${avatar.numbers[frame]}`;
    shown.value = `frame ${avatar.numbers[frame]}`;
    if (drawn === playing) return; // a button that is replaced while it is pressed loses the click
    drawn = playing;
    play.replaceChildren(icon(playing ? PAUSE : PLAY));
    play.ariaLabel = playing ? "Pause" : "Play";
  });
  return make("footer", { className: "bar" }, play, scrub, shown, rate, makePanelButton(app));
}

function makePanelButton(app: HTMLElement): HTMLButtonElement {
  const button = make("button", { type: "button", className: "round", ariaLabel: "Settings" }, icon(SETTINGS));
  button.setAttribute("aria-controls", "panel");
  const set = (open: boolean) => {
    app.classList.toggle("open", open);
    button.ariaExpanded = String(open);
  };
  button.addEventListener("click", () => set(!app.classList.contains("open")));
  set(!matchMedia("(max-width: 760px)").matches);
  return button;
}
