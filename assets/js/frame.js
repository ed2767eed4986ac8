// The frame of an outpainting: how far its sides lie outside of the picture, or inside where that is negative.

import { el } from "./dom.js";
import { onShown, type, typed } from "./form.js";
import { onRoute, route } from "./routes.js";
import { canvasOf, setView, SIDES, withSource } from "./rooms.js";

const SHAPES = [
  [1, 1],
  [4, 3],
  [3, 4],
  [3, 2],
  [2, 3],
  [16, 9],
  [9, 16],
];
/** In whole eighths nothing has to be resized to be drawn. */
const eighths = (length) => Math.round(length / 8) * 8;

export function mount(element) {
  let shown = [0, 0, 0, 0];
  const now = () => SIDES.map((name) => Math.trunc(Number(typed(name))) || 0);
  function set(values) {
    SIDES.forEach((name, i) => type(name, String(values[i])));
    setView("canvas"); // where the frame is seen
  }

  /** `shape(width, height)`: how much wider and higher than the picture the frame is to be. */
  function grow(shape) {
    withSource("inpaint", ({ width, height }) => {
      const [across, down] = shape(width, height).map((extra) => Math.max(0, extra));
      const [left, top] = [Math.floor(across / 2), Math.floor(down / 2)];
      set([left, top, across - left, down - top]);
    });
  }

  const toShape = (x, y) => (width, height) => (width * y < height * x ? [eighths((height * x) / y) - width, 0] : [0, eighths((width * y) / x) - height]);
  const zoomOut = (factor) => (width, height) => [eighths(width * factor) - width, eighths(height * factor) - height];

  function pan(x, y) {
    withSource("inpaint", ({ width, height }) => {
      const [across, down] = [x * eighths(width / 4), y * eighths(height / 4)];
      const [left, top, right, bottom] = now();
      set([left - across, top - down, right + across, bottom + down]);
    });
  }

  const chip = (text, label, act) => el("button", { type: "button", class: "chip", title: label, "aria-label": label, onclick: act }, text);
  const row = (label, ...chips) => el("div", { class: "frame-row", role: "group", "aria-label": label }, el("span", { class: "frame-name" }, label), ...chips);
  const none = chip("None", "No margins", () => set([0, 0, 0, 0]));
  const pans = [
    ["←", "Pan to the left", -1, 0],
    ["↑", "Pan upwards", 0, -1],
    ["↓", "Pan downwards", 0, 1],
    ["→", "Pan to the right", 1, 0],
  ];
  element.replaceChildren(
    row("Shape", ...SHAPES.map(([x, y]) => chip(`${x}:${y}`, `Extend to ${x}:${y}`, () => grow(toShape(x, y))))),
    row("Zoom out", chip("1.5×", "Zoom out 1.5×", () => grow(zoomOut(1.5))), chip("2×", "Zoom out 2×", () => grow(zoomOut(2)))),
    row("Pan", ...pans.map(([text, label, x, y]) => chip(text, label, () => pan(x, y))), none),
  );
  const show = () => route() === "inpaint" && canvasOf("inpaint").then((canvas) => canvas.setFrame(shown));
  onShown((values) => {
    shown = SIDES.map((name) => Math.trunc(Number(values[name])) || 0);
    none.disabled = shown.every((side) => !side);
    show();
  });
  onRoute(show);
}
