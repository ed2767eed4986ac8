// The LoRAs laid over the model: each with its weight and its words, chosen from those that suit it.

import { el, fill, icon, iconButton } from "./dom.js";
import { modelEntry, models, url } from "./api.js";
import { abilities, anyLoras, onShown, type, typed, uses } from "./form.js";
import { onAble } from "./able.js";
import { card, suits } from "./models-card.js";

const SETTLING = 3000; // milliseconds
const MOST = 200; // cards at once; a search finds the others
const known = new Map(); // name → promise of its card; null: it is not here

let chosen = []; // what the form carries: { name, weight, … }
let carried = null; // as text
let settles = 0; // until when the form may still tell of what was there before
const listeners = new Set();
const rows = new Map(); // name → { element, update }

const told = (name) => {
  if (!known.has(name)) known.set(name, modelEntry(`lora:${name}`).catch(() => null));
  return known.get(name);
};

function carry(next) {
  chosen = next;
  carried = next.length ? JSON.stringify(next) : "";
  settles = performance.now() + SETTLING;
  type("loras", carried);
  for (const listener of listeners) listener();
}

const weigh = (name, weight) => carry(chosen.map((use) => (use.name === name ? { ...use, weight } : use)));
const remove = (name) => carry(chosen.filter((use) => use.name !== name));
const isChosen = (name) => chosen.some((use) => use.name === name);

/** Lay it over the model, with the first of the words its maker trained it on. */
function add({ key, triggers }) {
  carry([...chosen, { name: key, weight: 1 }]);
  if (triggers.length && !triggers.some(isSaid)) say(triggers[0]);
}

/** Lay it over the model, if it is not there yet: what a card of the Models tab does. */
export function wear(facts) {
  if (!isChosen(facts.key)) add(facts);
}

const isSaid = (word) => typed("prompt").toLowerCase().includes(word.toLowerCase());

function say(word) {
  const before = typed("prompt").trimEnd();
  type("prompt", before ? `${before}${before.endsWith(",") ? "" : ","} ${word}` : word);
}

export function mount(element) {
  const list = el("ul", { class: "loras", "aria-label": "LoRAs in use" });
  const none = el("p", { class: "quiet" }, "None yet. A LoRA teaches the model a style, a subject or a character.");
  const more = iconButton("plus", "Add a LoRA", () => choose(() => more.focus()), { text: true });
  element.replaceChildren(el("div", { class: "loras-box" }, list, none, more));

  function show() {
    const present = chosen.map(({ name }) => name);
    for (const name of rows.keys()) if (!present.includes(name)) rows.delete(name);
    for (const use of chosen) {
      if (!rows.has(use.name)) rows.set(use.name, row(use.name));
      rows.get(use.name).update(use);
    }
    fill(list, ...present.map((name) => rows.get(name).element));
    none.hidden = Boolean(chosen.length);
    const page = document.documentElement;
    page.toggleAttribute("data-loras", Boolean(abilities()?.lora && (anyLoras() || chosen.length)));
  }
  onShown(({ loras }) => {
    const now = loras ?? "";
    if (carried === now) settles = 0;
    else if (performance.now() > settles) {
      carried = now;
      chosen = uses(carried);
    }
    show();
  });
  listeners.add(show);
  onAble(show);
}

/** One LoRA in use: picture, name, weight, words. */
function row(name) {
  const short = name.split("/").at(-1);
  const title = el("span", { class: "lora-title", dir: "auto" }, short);
  const picture = el("span", { class: "lora-picture" }, icon("sliders"));
  const note = el("p", { class: "lora-note" });
  const words = el("div", { class: "lora-words" });
  const slider = el("input", { type: "range", min: "-2", max: "2", step: "0.05", "aria-label": `Weight of ${short}` });
  const number = el("input", { type: "number", min: "-4", max: "4", step: "0.05", "aria-label": `Weight of ${short} as a number` });
  slider.addEventListener("input", () => (number.value = slider.value));
  slider.addEventListener("change", () => weigh(name, slider.valueAsNumber));
  slider.addEventListener("dblclick", () => weigh(name, 1));
  number.addEventListener("change", () => weigh(name, Math.min(4, Math.max(-4, Number.isFinite(number.valueAsNumber) ? number.valueAsNumber : 1))));
  const element = el("li", { class: "lora", "data-name": name }, picture, el("div", { class: "lora-line" }, title, slider, number, iconButton("close", `Remove ${short}`, () => remove(name))), note, words);

  let facts;
  function describe() {
    if (facts === undefined) return;
    const fits = facts && suits(facts, abilities());
    element.toggleAttribute("data-out", !fits);
    note.textContent = !facts ? "It is not among the LoRAs here; remove it, or put it back into a model folder." : facts.refused || (fits ? "" : `Made for ${facts.family_title}: left out with this model.`);
    note.hidden = !note.textContent;
    for (const chip of words.children) chip.setAttribute("aria-pressed", String(isSaid(chip.textContent)));
  }
  told(name).then((found) => {
    facts = found;
    if (found) {
      title.textContent = found.title;
      if (found.preview) picture.replaceChildren(el("img", { src: url.modelPreview(found.id, found.preview), alt: "" }));
      words.replaceChildren(...found.triggers.slice(0, 8).map((word) => el("button", { type: "button", class: "chip", dir: "auto", title: "Into the prompt", onclick: () => isSaid(word) || say(word) }, word)));
    }
    describe();
  });

  function update({ weight = 1 }) {
    if (slider.valueAsNumber !== weight) slider.value = String(weight);
    if (number.valueAsNumber !== weight) number.value = String(weight);
    describe();
  }
  return { element, update };
}

/** All LoRAs that suit the model, to be taken and left again. */
function choose(closed) {
  const search = el("input", { type: "search", placeholder: "Search names and trigger words", "aria-label": "Search names and trigger words", maxlength: "300", autocomplete: "off", oninput: () => later() });
  const grid = el("ul", { class: "model-grid", "aria-label": "LoRAs for this model" });
  const problem = el("p", { class: "quiet", role: "status" });
  const dialog = el(
    "dialog",
    {
      class: "sheet lora-sheet",
      "aria-labelledby": "lora-sheet-title",
      onclose: () => {
        dialog.remove();
        closed();
      },
    },
    el("div", { class: "sheet-head" }, el("h2", { id: "lora-sheet-title" }, "LoRAs"), iconButton("close", "Close", () => dialog.close())),
    el("label", { class: "search" }, icon("search"), search),
    problem,
    grid,
  );
  let pause = 0;
  let asked = 0;
  function later() {
    clearTimeout(pause);
    pause = setTimeout(look, 200);
  }

  async function look() {
    const mine = ++asked;
    try {
      const page = await models({ group: "lora", fits: abilities()?.family ?? "", text: search.value, limit: MOST });
      if (mine !== asked) return;
      const of = page.items.filter((facts) => !facts.refused);
      grid.replaceChildren(...of.map(tile));
      const rest = page.total - page.items.length;
      problem.textContent = !of.length ? `No LoRA ${search.value ? "of that name " : ""}for models of ${abilities()?.title ?? "this kind"} is here.` : rest > 0 ? `${rest} more: search for them by name.` : "";
    } catch (error) {
      if (mine === asked) problem.textContent = error.message;
    }
  }

  function tile(facts) {
    known.set(facts.key, Promise.resolve(facts));
    const item = card(facts, () => {
      if (isChosen(facts.key)) remove(facts.key);
      else add(facts);
      button.setAttribute("aria-pressed", String(isChosen(facts.key)));
    });
    const button = item.querySelector(".model-open");
    button.setAttribute("aria-pressed", String(isChosen(facts.key)));
    return item;
  }

  document.body.append(dialog);
  dialog.showModal();
  look();
}
