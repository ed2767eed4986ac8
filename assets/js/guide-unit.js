// What one guide can be told: what makes a map of it, which ControlNet follows it, how much and when; and the map.

import { ask, map } from "./api.js";
import { el, fill, setText } from "./dom.js";
import { onShown } from "./form.js";
import { annotatorOf, change, described, unitAt } from "./guide-units.js";

const MODES = [["balanced", "Balanced"], ["prompt", "Prompt first"], ["control", "Guide first"]]; // prettier-ignore
const RESIZES = [["crop", "Crop"], ["fill", "Fill"], ["stretch", "Stretch"], ["keep", "Own size"]]; // prettier-ignore
const PAUSE = 500; // ms without a change before the map is made

let known = null; // what makes maps, once the studio has told
const annotators = () => (known ??= ask("GET", "/annotators").catch(() => ((known = null), [])));
const nets = new Map(); // model → its ControlNets

function netsOf(model) {
  if (!nets.has(model)) nets.set(model, ask("GET", `/controlnets?${new URLSearchParams({ model })}`).catch(() => (nets.delete(model), [])));
  return nets.get(model);
}

/** A named slider with its number. */
function line(label, { min, max, step, value }, changed) {
  const range = el("input", { type: "range", min, max, step, "aria-label": label });
  const number = el("input", { type: "number", min, max, step, "aria-label": `${label}, number` });
  const show = (now) => {
    for (const input of [range, number]) if (document.activeElement !== input || input === range) input.value = now;
    range.style.setProperty("--part", (now - min) / (max - min));
  };
  range.addEventListener("input", () => changed(Number(range.value)));
  number.addEventListener("change", () => {
    const typed = Number(number.value);
    changed(number.value !== "" && Number.isFinite(typed) ? Math.min(max, Math.max(min, typed)) : value);
  });
  show(value);
  return { element: el("label", { class: "guide-slider" }, el("span", {}, label), range, number), show };
}

function chips(label, options, chosen) {
  const buttons = options.map(([value, text]) => el("button", { type: "button", class: "chip", onclick: () => chosen(value) }, text));
  return {
    element: el("div", { class: "guide-chips" }, el("span", { class: "guide-label" }, label), el("div", { role: "group", "aria-label": label }, ...buttons)),
    show: (value) => options.forEach(([mine], i) => buttons[i].setAttribute("aria-pressed", String(mine === value))),
  };
}

/** `wanted()`: width and height of the picture that follows. Returns { element, update(unit) }. */
export function details(place, wanted) {
  const set = (changes) => change(unitAt(place), changes);
  const annotator = el("select", { "aria-label": "What makes the map", onchange: () => set({ annotators: { ...unitAt(place).annotators, [unitAt(place).source]: annotator.value } }) });
  const lacking = el("p", { class: "quiet guide-lacking", role: "status" });
  const parameters = el("div", { class: "guide-parameters" });
  const asIs = el("input", { type: "checkbox", onchange: () => set({ asIs: asIs.checked }) });
  const asIsRow = el("label", { class: "guide-check" }, asIs, "Use the map as it is");
  const net = el("select", { "aria-label": "ControlNet", onchange: () => set({ model: net.value || null }) });
  const none = el("p", { class: "quiet guide-lacking", role: "status" });
  const weight = line("Weight", { min: 0, max: 2, step: 0.05, value: 1 }, (value) => set({ weight: value }));
  const start = line("From", { min: 0, max: 1, step: 0.01, value: 0 }, (value) => set({ start: value }));
  const end = line("Until", { min: 0, max: 1, step: 0.01, value: 1 }, (value) => set({ end: value }));
  const mode = chips("Matters more", MODES, (value) => set({ mode: value }));
  const resize = chips("Size", RESIZES, (value) => set({ resize: value }));
  const preview = el("img", { alt: "The map that is followed", hidden: true });
  const told = el("p", { class: "quiet", role: "status" });
  const makes = el("label", { class: "guide-field" }, el("span", {}, "Map"), annotator);
  const element = el(
    "div",
    { class: "guide-details" },
    makes,
    lacking,
    parameters,
    asIsRow,
    el("figure", { class: "guide-map" }, preview, told),
    el("label", { class: "guide-field" }, el("span", {}, "ControlNet"), net),
    none,
    weight.element,
    start.element,
    end.element,
    mode.element,
    resize.element,
  );
  let model = "";
  let last = null; // the unit as it was last drawn here
  let shown = ""; // annotator and source whose parameters stand there
  let timer = 0;
  let asked = 0;

  function update(unit) {
    last = unit;
    const posed = unit.source === "pose";
    const key = annotatorOf(unit);
    makes.hidden = asIsRow.hidden = posed;
    makes.toggleAttribute("data-idle", unit.asIs);
    annotator.disabled = unit.asIs;
    asIs.checked = unit.asIs;
    for (const [control, value] of [[weight, unit.weight], [start, unit.start], [end, unit.end], [mode, unit.mode], [resize, unit.resize]]) control.show(value); // prettier-ignore
    if (element.checkVisibility()) {
      annotators().then((rows) => last === unit && fillAnnotators(rows, unit, key));
      netsOf(model).then((rows) => last === unit && fillNets(rows, unit, key));
      clearTimeout(timer);
      timer = setTimeout(() => look(unit), PAUSE);
    }
  }

  function fillAnnotators(rows, unit, key) {
    if (!annotator.options.length) {
      const groups = Map.groupBy(rows.filter((row) => row.key !== "none"), (row) => row.group); // prettier-ignore
      fill(annotator, ...[...groups].map(([name, members]) => el("optgroup", { label: name }, ...members.map((row) => el("option", { value: row.key }, row.title)))));
    }
    if (key !== "none") annotator.value = key;
    const row = rows.find((one) => one.key === key);
    setText(lacking, row?.missing ?? "");
    lacking.hidden = !row?.missing;
    if (shown === key) return;
    shown = key;
    fill(parameters, ...(row?.parameters ?? []).map((one) => parameter(unit, key, one)));
    parameters.hidden = !row?.parameters.length;
  }

  function parameter(unit, key, { name, label, min, max, step, default: usual }) {
    const value = unit.parameters[key]?.[name] ?? usual;
    const put = (now) => set({ parameters: { ...unitAt(place).parameters, [key]: { ...unitAt(place).parameters[key], [name]: now } } });
    if (min === 0 && max === 1 && step === 1) {
      const box = el("input", { type: "checkbox", onchange: () => put(box.checked ? 1 : 0) });
      box.checked = value === 1;
      return el("label", { class: "guide-check" }, box, label);
    }
    const slider = line(label, { min, max, step, value }, (now) => {
      slider.show(now);
      put(now);
    });
    return slider.element;
  }

  function fillNets(rows, unit, key) {
    const options = [el("option", { value: "" }, "The one that suits"), ...rows.map((row) => el("option", { value: row.key }, `${row.title}${key !== "none" && !row.annotators.includes(key) ? " (made for other maps)" : ""}`))];
    const wanted = options.map((option) => option.textContent).join("\n");
    if (net.dataset.shown !== wanted) {
      net.dataset.shown = wanted;
      fill(net, ...options);
    }
    net.value = rows.some((row) => row.key === unit.model) ? unit.model : "";
    setText(none, rows.length ? "" : "No ControlNet here fits this model; put one into models/controlnet, or choose another model.");
    none.hidden = rows.length > 0;
  }

  async function look(unit) {
    if (!unit.on || unitAt(place) !== unit) return;
    // Looking must not fetch weights: that is for Generate.
    const row = (await annotators()).find(({ key }) => key === annotatorOf(unit));
    if (row && !row.ready) return void (preview.hidden = true);
    const mine = ++asked;
    const [width, height] = wanted();
    try {
      const { problem, ...given } = await described(unit);
      const blob = problem ? null : await map({ ...given, weight: 1, start: 0, end: 1, model: null }, width, height);
      if (mine !== asked) return;
      URL.revokeObjectURL(preview.src);
      if (blob) preview.src = URL.createObjectURL(blob);
      preview.hidden = !blob;
      setText(told, problem ? "The map stands here once there is something to follow." : "");
    } catch (refused) {
      if (mine !== asked) return;
      preview.hidden = true;
      setText(told, refused.message);
    }
  }

  onShown((values) => {
    const changed = model !== (values.model ?? "");
    model = values.model ?? "";
    if (changed && last && !element.hidden) update(last);
  });
  return { element, update };
}
