// Making elements.

type Options<K extends keyof HTMLElementTagNameMap> = Partial<Omit<HTMLElementTagNameMap[K], "style">>;

export function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  options: Options<K> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(name), options);
  element.append(...children);
  return element;
}

// A drawing of 24 x 24 units, filled with the text's colour.
export function icon(path: string): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(space, "path");
  shape.setAttribute("d", path);
  drawing.append(shape);
  return drawing;
}

export interface Slider {
  row: HTMLElement;
  input: HTMLInputElement;
  value: HTMLOutputElement;
}

export function makeSlider(label: string, least: number, most: number, step: number, onInput: (value: number) => void): Slider {
  const input = make("input", { type: "range", min: String(least), max: String(most), step: String(step) });
  input.ariaLabel = label; // without the value, which would be read twice
  const value = make("output");
  input.addEventListener("input", () => onInput(input.valueAsNumber));
  return { row: make("label", { className: "slider" }, make("span", {}, label), input, value), input, value };
}

export function makeButton(text: string, onClick: () => void): HTMLButtonElement {
  const button = make("button", { type: "button" }, text);
  button.addEventListener("click", onClick);
  return button;
}
