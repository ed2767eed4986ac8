// The canvas's controls: one row of tools, one row of what the chosen tool can vary.

import { el } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

// Lines on a 24 × 24 grid, as the page's other icons.
const GLYPHS = {
  brush: "M14.5 4.5 20 10l-8.5 8.5-5.5-5.5zM6 13c-2.5 1-2.3 4.5-4 6.5 3 1.3 7.5 1 9-1.5",
  eraser: "M9 19.5 3.5 14a1.5 1.5 0 0 1 0-2L12 3.5a1.5 1.5 0 0 1 2 0L20.5 10a1.5 1.5 0 0 1 0 2L13 19.5zM8 8l8.5 8.5M9 19.5h11",
  rectangle: "M4 6h16v12H4z",
  lasso: "M12 4c5 0 9 2.5 9 6s-4 6-9 6-9-2.5-9-6 4-6 9-6M7 15.5c-2.5.5-2.5 3.5 0 3.5s2 2.5.5 3",
  fill: "M11 3 3.5 10.5a1.5 1.5 0 0 0 0 2l6 6a1.5 1.5 0 0 0 2 0L19 11zM4 12.5h13.5M20.5 15c1.200 2 1.600 2.600 1.600 3.600a1.600 1.600 0 0 1-3.200 0c0-1 .4-1.600 1.600-3.600",
  undo: "M8 5 3.5 9.5 8 14M4 9.5h10.5a5.5 5.5 0 0 1 0 11H9",
  redo: "M16 5l4.5 4.5L16 14M20 9.5H9.5a5.5 5.5 0 0 0 0 11H15",
  invert: "M12 3.5a8.5 8.5 0 1 0 0 17zM12 3.5a8.5 8.5 0 0 1 0 17M12 8h6.800M12 12h8.5M12 16h6.800",
  clear: "M4 7h16M10 11v6M14 11v6M6 7l1 13h10l1-13M9 7V4h6v3",
  eye: "M2.5 12C5 7.5 8.3 5.5 12 5.5s7 2 9.5 6.5c-2.5 4.5-5.800 6.5-9.5 6.5S5 16.5 2.5 12M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6",
  minus: "M5 12h14",
  plus: "M12 5v14M5 12h14",
  open: "M4 4h16a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1M3 16l5-5 4 4 3-3 6 6M15.5 8.5v.01",
  page: "M6 3h8l5 5v13H6zM14 3v5h5",
};

function glyph(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", GLYPHS[name]);
  svg.append(path);
  return svg;
}

function button(name, label, keys, onclick, attributes = {}) {
  const title = keys ? `${label} (${keys.replace("Control", "Ctrl")})` : label;
  return el("button", { type: "button", class: "tool", title, "aria-label": label, "aria-keyshortcuts": keys, onclick, ...attributes }, glyph(name));
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
  const { mode } = canvas;
  const tools = [
    ["brush", "Brush", "B"],
    ["eraser", "Eraser", "E"],
    ["rectangle", "Rectangle", "R"],
    ["lasso", "Lasso", "L"],
    ["fill", "Fill", "F"],
  ].map(([name, label, key]) => [name, button(name, label, key, () => canvas.set({ tool: name }), { "data-tool": name })]);
  const act = (name) => () => canvas.act(name);
  const undo = button("undo", "Undo", "Control+Z", act("undo"));
  const redo = button("redo", "Redo", "Control+Shift+Z", act("redo"));
  const invert = mode !== "sketch" && button("invert", mode === "line" ? "Invert the lines" : "Invert the mask", "I", act("invert"));
  const clear = button("clear", "Clear", "Delete", act("clear"));
  const eye = button("eye", "Show what is painted", "V", act("toggle"));
  const zoom = el("button", { type: "button", class: "tool canvas-zoom", title: "Whole picture (0)", "aria-keyshortcuts": "0", onclick: act("fit") });
  const smaller = button("minus", "Zoom out", "-", act("zoomOut"));
  const larger = button("plus", "Zoom in", "+", act("zoomIn"));
  const open = button("open", "Open a picture", null, () => canvas.choose());
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
  const colourName = mode === "sketch" ? "colour" : "tint";
  const colour = el("input", { type: "color", "aria-label": mode === "sketch" ? "Colour of the brush" : "Colour the mask is shown in", title: mode === "sketch" ? "Colour of the brush" : "Colour the mask is shown in" });
  colour.addEventListener("input", () => canvas.set({ [colourName]: colour.value }));
  const recent = el("span", { class: "canvas-recent", role: "group", "aria-label": "Colours used before" });
  const options = el("div", { class: "canvas-options" }, mode !== "line" && colour, mode === "sketch" && recent, size.element, hardness.element, opacity.element, fillBy.element, tolerance.element, away.element);

  function update() {
    const { settings, sheet, history, view } = canvas;
    const shape = !["brush", "eraser"].includes(settings.tool);
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
    size.element.hidden = hardness.element.hidden = shape;
    fillBy.element.hidden = !fills || mode === "sketch";
    tolerance.element.hidden = !fills || (mode !== "sketch" && settings.fillBy !== "picture");
    away.element.hidden = !shape;
    for (const [name, control] of Object.entries({ size, hardness, opacity, tolerance, away, fillBy })) control.show(settings[name]);
    colour.value = settings[colourName];
    if (recent.dataset.shown !== settings.recent.join()) {
      recent.dataset.shown = settings.recent.join();
      recent.replaceChildren(...settings.recent.map(swatch));
    }
  }

  const swatch = (value) =>
    el("button", { type: "button", class: "canvas-swatch", style: `background:${value}`, "aria-label": `Colour ${value}`, title: value, onclick: () => canvas.set({ colour: value }) });

  return { bar, options, update };
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
