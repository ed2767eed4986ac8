// The form's small comforts, around Gradio's own controls: examples, folds, sizes, seeds, styles, memory.

import { el, icon, iconButton, remember, remembered as recall, setText } from "./dom.js";
import { guidesInWords } from "./guide-units.js";
import { session } from "./session.js";
import { say } from "./notices.js";

const SETTINGS = "settings";
const listeners = new Set();
let facts = { names: [], examples: [], longest: Infinity, defaults: {}, abilities: {}, loras: false, styles: {}, usual: {} };
let current = null; // field name → value, once the form has been filled
let saving = 0;
let early = false; // whether Generate was pressed before that

const field = (id) => document.querySelector(`#${id} textarea, #${id} input`);

/** Type `text` into one of Gradio's fields, as the artist would. */
export function type(id, text) {
  const input = field(id);
  if (!input) return;
  const kind = input instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(input, text);
  input.dispatchEvent(new Event("input", { bubbles: true }));
  input.dispatchEvent(new Event("blur"));
}

/** What stands in a field now; the values of `onShown` come a moment after typing. */
export const typed = (id) => field(id)?.value ?? "";

/** What the chosen model likes, by field name. */
export const likes = () => facts.defaults[current?.model] ?? Object.values(facts.defaults)[0] ?? {};

/** What the chosen model can do (`studio/abilities.py`); undefined before the form has been filled. */
export const abilities = () => (current ? facts.abilities[likes().can] : undefined);

const RESET = {
  width: () => "",
  height: () => "",
  seed: () => "",
  count: () => "1",
  steps: () => String(likes().steps),
  guidance: () => String(likes().guidance),
  clip_skip: () => "1",
};
const usual = (name) => RESET[name]?.() ?? (name in facts.usual ? String(facts.usual[name]) : null);

/** Double-clicking the name of a setting puts its default back. */
document.addEventListener("dblclick", ({ target }) => {
  const name = target.closest?.("label, [data-testid=block-info]") && facts.names.find((id) => usual(id) !== null && target.closest(`#${id}`));
  if (name && !target.matches("input") && !field(name)?.matches("[type=radio], [type=checkbox]")) type(name, usual(name));
});

/** A text area with megabytes in it stops every browser for minutes, so such a paste does not get that far. */
document.addEventListener("paste", (event) => {
  const area = event.target;
  if (!(area instanceof HTMLTextAreaElement) || !area.closest("#prompt, #negative")) return;
  const pasted = event.clipboardData?.getData("text").length ?? 0;
  const length = area.value.length - (area.selectionEnd - area.selectionStart) + pasted;
  if (length <= facts.longest) return;
  event.preventDefault();
  say(`That text has ${pasted.toLocaleString("en")} characters and was not pasted; a prompt may have at most ${facts.longest.toLocaleString("en")}.`, "error");
});

/** `listener` is told the values of all controls, by name, now and whenever one has changed. */
export function onShown(listener) {
  listeners.add(listener);
  if (current) listener(current);
}

/** Gradio: what the browser remembers, or nothing. */
export const remembered = () => recall(SETTINGS, "");

/** Gradio: the form has been filled from memory; from here on changes are remembered. */
export function restored(values) {
  current = {};
  shown(values);
  if (early) generate();
  early = false;
}

/** Gradio: these are the values of all controls now. */
export function shown(values) {
  if (!current) return; // before the memory has been read it must not be overwritten
  change(Object.fromEntries(facts.names.map((name, i) => [name, values[i]])));
}

// Gradio tells of typing, not of text that arrives otherwise: pasted with the mouse, dropped, dictated.
document.addEventListener("input", ({ target }) => {
  const name = ["prompt", "negative", "seed", "loras"].find((id) => target === field(id));
  if (name && current) change({ ...current, [name]: target.value });
});

function change(values) {
  current = values;
  for (const listener of listeners) listener(current);
  clearTimeout(saving);
  saving = setTimeout(save, 250);
}

function save() {
  saving = 0;
  if (current) remember(SETTINGS, JSON.stringify(current));
}

addEventListener("pagehide", () => saving && save());

// Generate pressed before the form has been filled would be lost, or draw what nobody asked for: it waits.
document.addEventListener(
  "click",
  (event) => {
    if (current || !event.target.closest?.("#generate")) return;
    event.stopImmediatePropagation();
    early = true;
  },
  true,
);

export function generate() {
  // Leaving a number field makes Gradio take over what was typed.
  const active = document.activeElement;
  if (active instanceof HTMLInputElement) active.blur();
  // Gradio takes a value over when it next renders: on a busy machine much later than now. A tab nobody sees has no frames.
  let pressed = false;
  const press = () => {
    if (pressed) return;
    pressed = true;
    document.getElementById("generate")?.click();
    active?.focus?.({ preventScroll: true });
  };
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(press)));
  setTimeout(press, document.hidden ? 250 : 3000);
}

export function swapSize() {
  const [width, height] = [field("width"), field("height")];
  if (!width || !height || document.documentElement.matches("[data-tab=image][data-resize=keep], [data-tab=inpaint]:not([data-area=masked])")) return;
  const [w, h] = [width.value || width.placeholder, height.value || height.placeholder];
  type("width", h);
  type("height", w);
}

let reuseTrigger = null;

/** Fill the form with the settings of a picture. */
export function reuse(id) {
  reuseTrigger?.("reuse", { id });
}

/** Draw with this model from now on; null: the list of models has changed. */
export function chooseModel(key) {
  reuseTrigger?.("choose", { model: key });
}

/** What all controls say now, by name. */
export const values = () => ({ ...current });

/** Fill in `values` by field name; `whole`: and whatever they leave open as the model likes it. */
export function put(values, { whole = false } = {}) {
  const known = Object.fromEntries(Object.entries(values).filter(([name]) => facts.names.includes(name)));
  reuseTrigger?.("put", { values: JSON.stringify(known), whole });
}

/** What models like and can do, of those that came since the page was made as well. */
export function learn(told) {
  facts = { ...facts, ...told };
}

/** Whether there are LoRAs to choose from. */
export const anyLoras = () => facts.loras;

export function examples(element, data, trigger) {
  facts = data;
  reuseTrigger = trigger;
  function use(text) {
    type("prompt", text);
    field("prompt").focus();
  }
  let offered = false;
  onShown(({ prompt }) => {
    for (const id of ["prompt", "negative"]) field(id)?.setAttribute("dir", "auto"); // Arabic and Hebrew too
    field("styles")?.setAttribute("placeholder", "Add a style");
    // Decided once: the form must not jump under the hands of somebody who types. They are for beginning; a returning
    // artist's own prompt needs none.
    if (offered) return;
    offered = true;
    if (prompt?.trim() && !facts.examples.includes(prompt)) return;
    const others = facts.examples.filter((text) => text !== prompt).slice(0, 3);
    const chips = others.map((text) => el("button", { type: "button", class: "chip", onclick: () => use(text) }, text));
    element.replaceChildren(el("div", { class: "examples", role: "group", "aria-label": "Example prompts" }, ...chips));
  });
}

export function fold(element, [name, title]) {
  const key = `fold.${name}`;
  const summary = el("span", { class: "fold-summary" });
  const button = el(
    "button",
    { type: "button", class: "fold-button", "aria-expanded": String(recall(key, "no") === "yes"), onclick: toggle },
    icon("right"),
    el("span", { class: "fold-title" }, title),
    summary,
  );
  function toggle() {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", open);
    remember(key, open ? "yes" : "no");
  }
  element.replaceChildren(button);
  onShown((values) => setText(summary, SUMMARIES[name](values)));
}

const signed = (value) => (value > 0 ? `+${value}` : `−${-value}`);
const SIDES = ["left", "top", "right", "bottom"];

/** The chosen LoRAs, { name, weight, … }, from the text in which the form carries them. */
export function uses(text) {
  try {
    const found = JSON.parse(text || "[]");
    return Array.isArray(found) ? found.filter((use) => typeof use?.name === "string") : [];
  } catch {
    return [];
  }
}

const SUMMARIES = {
  guides: () => guidesInWords(),
  negative: ({ negative, guidance }) => (negative?.trim() && guidance <= 1 ? "not read at this guidance" : (negative?.trim() ?? "")),
  sampling: ({ sampler, scheduler, steps, guidance, clip_skip: skip }) => [`${sampler} ${scheduler}`, `${steps} steps`, abilities()?.guidance !== "none" && guidance, abilities()?.clip_skip && skip > 1 && `clip skip ${skip}`].filter(Boolean).join(" · "),
  loras: ({ loras }) => uses(loras).map(({ name, weight = 1 }) => `${name.split("/").at(-1)} ${weight}`).join(", "),
  loops: ({ loops, loop_decay: kept }) => (loops > 1 ? `${loops}, strength × ${kept}` : "one"),
  mask: ({ mask_blur: blur, soft, invert }) => [`blur ${blur} px`, soft && "soft", invert && "inverted"].filter(Boolean).join(" · "),
  outpaint: (values) => SIDES.filter((side) => values[side]).map((side) => `${side} ${signed(values[side])}`).join(" · ") || "no margins",
};

export function stylePreview(element) {
  onShown(({ styles }) => {
    const rows = (styles ?? [])
      .filter((name) => name in facts.styles)
      .map((name) => {
        const { prompt, negative } = facts.styles[name];
        return el(
          "div",
          { class: "style-row" },
          el("dt", {}, name),
          el("dd", {}, prompt.replace("{prompt}", "…"), negative && el("span", { class: "style-not" }, ` not: ${negative}`)),
        );
      });
    element.replaceChildren(...(rows.length ? [el("dl", { class: "styles-add" }, ...rows)] : []));
  });
}

export function swap(element) {
  element.replaceChildren(iconButton("swap", "Swap width and height (X)", swapSize, { "aria-keyshortcuts": "X" }));
}

const ASPECTS = [
  ["1:1", 1, 1],
  ["4:3", 4, 3],
  ["3:4", 3, 4],
  ["3:2", 3, 2],
  ["2:3", 2, 3],
  ["16:9", 16, 9],
  ["9:16", 9, 16],
];

/**
 * Width and height of `across` : `down`: a size the model was trained on where one comes near, else about as many
 * pixels, as multiples of what it can draw.
 */
export function sized([width, height], across, down, { sizes = [], multiple = 8 } = {}) {
  const own = sizes.some(([w, h]) => w === width && h === height) ? sizes : [];
  const off = ([w, h]) => Math.abs(Math.log((w * down) / (h * across)));
  const pixels = ([w, h]) => Math.abs(Math.log((w * h) / (width * height)));
  const [nearest] = own.filter((size) => off(size) < 0.05 && pixels(size) < 0.2).sort((one, other) => off(one) - off(other));
  if (nearest) return nearest;
  const unit = Math.sqrt((width * height) / (across * down));
  return [across, down].map((side) => Math.max(64, Math.round((side * unit) / multiple) * multiple));
}

export function aspects(element) {
  const own = () => [likes().width, likes().height];
  const chips = ASPECTS.map(([label, across, down]) => {
    const scale = 14 / Math.max(across, down);
    const shape = el("span", { class: "shape", style: `width:${across * scale}px;height:${down * scale}px` });
    const choose = () => {
      const [width, height] = sized(own(), across, down, abilities());
      type("width", String(width));
      type("height", String(height));
    };
    return el("button", { type: "button", class: "chip aspect", onclick: choose, "aria-pressed": "false" }, shape, label);
  });
  element.replaceChildren(el("div", { class: "aspects", role: "group", "aria-label": "Aspect ratio" }, ...chips));
  onShown((values) => {
    const [width, height] = [values.width ?? own()[0], values.height ?? own()[1]];
    ASPECTS.forEach(([, across, down], i) => {
      const [w, h] = sized(own(), across, down, abilities());
      chips[i].title = `${w} × ${h}`;
      chips[i].setAttribute("aria-pressed", String(w === width && h === height));
    });
  });
}

export function seedTools(element) {
  const dice = () => type("seed", String(crypto.getRandomValues(new Uint32Array(1))[0]));
  const last = iconButton("again", "Reuse the last seed", () => session.lastSeed !== null && type("seed", session.lastSeed));
  const clear = iconButton("close", "Random again: a new seed for each picture", () => type("seed", ""));
  element.replaceChildren(iconButton("dice", "Throw the dice for a seed", dice), last, clear);
  onShown(({ seed }) => (clear.disabled = !seed));
}

/** On a phone the settings below the picture are folded away. */
export function settingsToggle(element) {
  const button = el("button", { type: "button", class: "settings-toggle", "aria-expanded": "false", onclick: toggle }, icon("sliders"), "Settings", icon("down"));
  function toggle() {
    button.setAttribute("aria-expanded", String(button.getAttribute("aria-expanded") !== "true"));
  }
  element.replaceChildren(button);
}

