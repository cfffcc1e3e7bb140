// The panel beside the canvas: how to look, and the weights of the blendshapes.

import type { Avatar } from "./avatar.ts";
import { RECORDED } from "./camera.ts";
import { make, makeButton, makeSlider } from "./dom.ts";
import { DETAILS, type Detail, type State } from "./state.ts";

const SPEEDS = [1, 60] as const; // frames in a second
const SCALES = [0.1, 2] as const;
const STEPS = 200; // of a weight's slider on either side of 0
const LEAST_REACH = 0.1; // of a weight's slider

export function makePanel(avatar: Avatar, state: State): HTMLElement {
  const parts = [makeHead(avatar), makeLook(avatar, state), makeWeights(avatar, state), makeHelp()];
  return make("aside", { className: "panel", id: "panel", ariaLabel: "Settings" }, ...parts);
}

function makeHead(avatar: Avatar): HTMLElement {
  const { header } = avatar.payload;
  const amounts = [
    plural(avatar.count, "Gaussian"),
    plural(avatar.bases, "blendshape"),
    plural(avatar.frames, "frame"),
  ];
  return make("header", {}, make("h1", {}, header.subject), make("p", { className: "faint" }, amounts.join(" · ")));
}

function makeLook(avatar: Avatar, state: State): HTMLElement {
  const color = make("input", { type: "color" });
  color.addEventListener("input", () => state.change({ background: color.value }));
  const detail = make("select", {}, ...Object.entries(DETAILS).map(([value, text]) => make("option", { value }, text)));
  detail.addEventListener("change", () => state.change({ detail: detail.value as Detail }));
  const scale = makeSlider("Gaussian size", ...SCALES, 0.01, (value) => state.change({ scale: value }));
  const speed = makeSlider("Speed", ...SPEEDS, 1, (value) => state.change({ speed: value }));
  state.follow((choices) => {
    color.value = choices.background;
    detail.value = choices.detail;
    scale.input.valueAsNumber = choices.scale;
    scale.value.value = choices.scale.toFixed(2);
    speed.input.valueAsNumber = choices.speed;
    speed.value.value = `${choices.speed} /s`;
  });
  speed.row.hidden = avatar.frames < 2;
  const resetAll = () => state.change({ view: { ...RECORDED }, scale: 1 });
  return make(
    "section",
    { ariaLabel: "View" },
    make("div", { className: "title" }, make("h2", {}, "View"), makeButton("Reset view", resetAll)),
    make("label", { className: "field" }, make("span", {}, "Background"), color),
    make("label", { className: "field" }, make("span", {}, "Detail"), detail),
    scale.row,
    speed.row,
  );
}

function makeWeights(avatar: Avatar, state: State): HTMLElement {
  if (avatar.baseCount === 0) {
    return make("section", {}, make("h2", {}, "Blendshapes"), make("p", { className: "faint" }, "Training ended before they joined."));
  }
  const hold = make("input", { type: "checkbox" });
  hold.addEventListener("change", () => state.freeze(hold.checked));
  state.follow(({ held }) => (hold.checked = held !== null));
  const reset = () => state.change({ added: new Float32Array(avatar.bases), held: null });
  return make(
    "section",
    { ariaLabel: "Blendshapes" },
    make("div", { className: "title" }, make("h2", {}, "Blendshapes"), makeButton("Reset weights", reset)),
    make("p", { className: "faint" }, "A slider adds to the weight that the network gives. The number is the sum."),
    make("label", { className: "field" }, make("span", {}, "Freeze the network's weights"), hold),
    ...Array.from({ length: avatar.bases }, (_, basis) => makeWeight(avatar, state, basis)),
  );
}

function makeWeight(avatar: Avatar, state: State, basis: number): HTMLElement {
  const reach = reachOf(avatar, basis);
  const add = (steps: number) => state.add(basis, (reach * steps) / STEPS);
  const slider = makeSlider(`Weight ${basis + 1}`, -STEPS, STEPS, 1, add);
  state.follow(({ added }) => {
    slider.input.valueAsNumber = (STEPS * added[basis]!) / reach;
    slider.value.value = slider.input.ariaValueText = state.weights()[basis]!.toFixed(2);
  });
  return slider.row;
}

// How far a slider goes: twice as far as the network does in the recording.
function reachOf(avatar: Avatar, basis: number): number {
  const { least, most } = avatar.weightRange(basis);
  return Math.max(LEAST_REACH, avatar.frames > 1 ? 2 * (most - least) : Math.abs(most));
}

function makeHelp(): HTMLElement {
  const ways = [
    "Drag: circle the head",
    "Wheel or pinch: zoom",
    "Right button, shift or two fingers: move",
    "Double click: back to the recorded view",
    "Space: play or pause",
  ];
  return make("section", {}, make("h2", {}, "Controls"), make("ul", { className: "faint" }, ...ways.map((way) => make("li", {}, way))));
}

function plural(count: number, word: string): string {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}
