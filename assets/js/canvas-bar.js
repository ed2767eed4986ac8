// The canvas's controls: one row of tools, one row of what the chosen tool can vary.

import { el, icon } from "./dom.js";

function button(name, label, keys, onclick, attributes = {}) {
  const title = keys ? `${label} (${keys.replace("Control", "Ctrl")})` : label;
  return el("button", { type: "button", class: "tool", title, "aria-label": label, "aria-keyshortcuts": keys, onclick, ...attributes }, icon(name));
}

/** A slider with its number; `scale`: { min, max, show(value) → number, read(number) → value, at(value) → 0…1, from(0…1) }. */
function slider(label, unit, scale, reset, changed) {
  const range = el("input", { type: "range", min: 0, max: 1, step: "any", "aria-label": label });
  const number = el("input", { type: "number", min: scale.min, max: scale.max, step: 1, "aria-label": `${label}, ${unit}` });
  range.addEventListener("input", () => changed(scale.from(Number(range.value))));
  range.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!turn) return;
    event.preventDefault();
    changed(scale.read(Math.min(scale.max, Math.max(scale.min, Number(number.value) + turn))));
  });
  number.addEventListener("change", () => {
    const typed = Number(number.value);
    if (number.value !== "" && Number.isFinite(typed)) changed(scale.read(Math.min(scale.max, Math.max(scale.min, typed))));
    else reset();
  });
  const name = el("span", { class: "canvas-label", ondblclick: reset, title: "Double-click: back to the default" }, label);
  const element = el("div", { class: "canvas-slider" }, name, el("span", { class: "canvas-number" }, number, el("span", { class: "canvas-unit" }, unit)), range);
  return {
    element,
    show(value) {
      range.value = scale.at(value);
      range.setAttribute("aria-valuetext", `${scale.show(value)} ${unit}`);
      if (document.activeElement !== number || number.value === "") number.value = scale.show(value);
      range.style.setProperty("--part", scale.at(value));
    },
  };
}

export const LARGEST = 1000;
const PIXELS = {
  min: 1,
  max: LARGEST,
  show: Math.round,
  read: (number) => number,
  at: (value) => Math.log(value) / Math.log(LARGEST),
  from: (part) => Math.max(1, Math.round(LARGEST ** part)),
};
const PERCENT = {
  min: 0,
  max: 100,
  show: (value) => Math.round(value * 100),
  read: (number) => number / 100,
  at: (value) => value,
  from: (part) => Math.round(part * 100) / 100,
};
const PERCENT_FROM_ONE = { ...PERCENT, min: 1, from: (part) => Math.max(0.01, PERCENT.from(part)) };

/** Two choices, one of them pressed. */
function choice(label, options, chosen) {
  const buttons = options.map(([value, text]) => el("button", { type: "button", class: "chip", onclick: () => chosen(value) }, text));
  return {
    element: el("div", { class: "canvas-choice", role: "group", "aria-label": label }, ...buttons),
    show: (value) => options.forEach(([mine], i) => buttons[i].setAttribute("aria-pressed", String(mine === value))),
  };
}

/** `canvas` is the one of canvas.js; returns { bar, options, update }. */
export function buildBar(canvas) {
  const { mode, coloured } = canvas;
  const draws = mode === "draw";
  const tools = [
    ["brush", draws ? "Pen" : "Brush", "B"],
    ["eraser", "Eraser", "E"],
    ...(draws ? [["line", "Straight line", "U"], ["ellipse", "Ellipse", "O"]] : []), // prettier-ignore
    ["rectangle", "Rectangle", "R"],
    ["lasso", "Lasso", "L"],
    ["fill", "Fill", "F"],
  ].map(([name, label, key]) => [name, button(name, label, key, () => canvas.set({ tool: name }), { "data-tool": name })]);
  const act = (name) => () => canvas.act(name);
  const undo = button("undo", "Undo", "Control+Z", act("undo"));
  const redo = button("redo", "Redo", "Control+Shift+Z", act("redo"));
  const invert = !coloured && button("invert", mode === "line" ? "Invert the lines" : "Invert the mask", "I", act("invert"));
  const clear = button("trash", "Clear", "Delete", act("clear"));
  const eye = button("eye", "Show what is painted", "V", act("toggle"));
  const zoom = el("button", { type: "button", class: "tool canvas-zoom", title: "Whole picture (0)", "aria-keyshortcuts": "0", onclick: act("fit") });
  const smaller = button("minus", "Zoom out", "-", act("zoomOut"));
  const larger = button("plus", "Zoom in", "+", act("zoomIn"));
  const open = button("picture", draws ? "Open a picture to trace" : "Open a picture", null, () => canvas.choose());
  const page = mode !== "mask" && button("page", "New blank page", null, () => canvas.blank());
  const rule = () => el("span", { class: "canvas-rule", "aria-hidden": "true" });
  const bar = el(
    "div",
    { class: "canvas-bar", role: "toolbar", "aria-label": "Canvas tools" },
    ...tools.map(([, element]) => element),
    rule(),
    undo,
    redo,
    rule(),
    invert,
    eye,
    clear,
    rule(),
    smaller,
    zoom,
    larger,
    el("span", { class: "canvas-push" }),
    page,
    open,
  );
  bar.addEventListener("keydown", (event) => walk(bar, event));

  const { defaults } = canvas;
  const one = (name, label, unit, scale) => slider(label, unit, scale, () => canvas.set({ [name]: defaults(name) }), (value) => canvas.set({ [name]: value }));
  const size = one("size", "Size", "px", PIXELS);
  const hardness = one("hardness", "Hardness", "%", PERCENT);
  const opacity = one("opacity", "Opacity", "%", PERCENT_FROM_ONE);
  const tolerance = one("tolerance", "Tolerance", "%", PERCENT);
  const away = choice("What the shape does", [[false, "Add"], [true, "Take away"]], (value) => canvas.set({ away: value })); // prettier-ignore
  const fillBy = choice("What the fill follows", [["mask", mode === "line" ? "Lines" : "Mask"], ["picture", "Colours"]], (value) => canvas.set({ fillBy: value })); // prettier-ignore
  const steady = one("steady", "Steady", "%", PERCENT);
  const tracing = one("tracing", "Traced picture", "%", PERCENT);
  const symmetry = choice("Symmetry", [["none", "Free"], ["sides", "Left and right"], ["both", "Four ways"]], (value) => canvas.set({ symmetry: value })); // prettier-ignore
  const colourName = coloured ? "colour" : "tint";
  const colourTitle = draws ? "Colour of the pen" : coloured ? "Colour of the brush" : "Colour the mask is shown in";
  const colour = el("input", { type: "color", "aria-label": colourTitle, title: colourTitle });
  colour.addEventListener("input", () => canvas.set({ [colourName]: colour.value }));
  const recent = el("span", { class: "canvas-recent", role: "group", "aria-label": "Colours used before" });
  const options = el("div", { class: "canvas-options" }, mode !== "line" && colour, coloured && recent, size.element, hardness.element, opacity.element, draws && steady.element, draws && symmetry.element, fillBy.element, tolerance.element, away.element, draws && tracing.element);

  function update() {
    const { settings, sheet, history, view } = canvas;
    const shape = ["rectangle", "lasso", "fill"].includes(settings.tool);
    const fills = settings.tool === "fill";
    for (const [name, element] of tools) element.setAttribute("aria-pressed", String(name === settings.tool));
    undo.disabled = !history.done.length;
    redo.disabled = !history.undone.length;
    for (const element of [...tools.map(([, tool]) => tool), invert, clear, eye, zoom, smaller, larger]) element && (element.disabled = !sheet);
    clear.disabled ||= sheet.layer.empty;
    eye.setAttribute("aria-pressed", String(settings.visible));
    const percent = `${sheet ? Math.round(view.scale * 100) : 100} %`;
    if (zoom.textContent !== percent) zoom.textContent = percent;
    zoom.setAttribute("aria-label", `Zoom ${percent}; show the whole picture`);
    size.element.hidden = shape;
    hardness.element.hidden = shape || draws;
    steady.element.hidden = !["brush", "eraser"].includes(settings.tool);
    symmetry.element.hidden = shape;
    tracing.element.hidden = !sheet?.bitmap;
    fillBy.element.hidden = !fills || coloured;
    tolerance.element.hidden = !fills || (!coloured && settings.fillBy !== "picture");
    away.element.hidden = !shape;
    for (const [name, control] of Object.entries({ size, hardness, opacity, steady, symmetry, tolerance, tracing, away, fillBy })) control.show(settings[name]);
    colour.value = settings[colourName];
    if (recent.dataset.shown !== settings.recent.join()) {
      recent.dataset.shown = settings.recent.join();
      recent.replaceChildren(...settings.recent.map(swatch));
    }
  }

  const swatch = (value) =>
    el("button", { type: "button", class: "canvas-swatch", style: `background:${value}`, "aria-label": `Colour ${value}`, title: value, onclick: () => canvas.set({ colour: value }) });

  return { bar, options, update, tools: tools.map(([name]) => name) };
}

/** Arrow keys walk along a toolbar. */
function walk(bar, event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const buttons = [...bar.querySelectorAll("button:not(:disabled)")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  event.stopPropagation();
  next.focus();
}
