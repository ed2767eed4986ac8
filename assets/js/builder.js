// The prompt builder: words by the sides of a picture, which go into the prompt, and out of it, at a click.

import { el, icon } from "./dom.js";
import { words } from "./api.js";
import { areaOf, holds, toggle } from "./prompt-text.js";
import { onShown } from "./form.js";
import { complain } from "./notices.js";

const SHOWN = 60; // chips at once; the search finds the others

/** { element, toggle() }: closed at first; `toggle` says whether it is open now. */
export function builder() {
  const element = el("div", { class: "builder", id: "builder", role: "group", "aria-label": "Prompt builder", hidden: true });
  const search = el("input", { type: "search", placeholder: "Search words", "aria-label": "Search words", autocomplete: "off", oninput: () => show() });
  const sides = el("div", { class: "builder-sides", role: "group", "aria-label": "Side of the picture" });
  const chips = el("div", { class: "builder-words", role: "group", "aria-label": "Words" });
  let facets = null;
  let side = "";
  let prompt = "";

  onShown((values) => {
    prompt = values.prompt ?? "";
    mark();
  });

  async function open() {
    if (facets) return;
    try {
      ({ facets } = await words());
    } catch (refused) {
      complain(refused);
      return;
    }
    side = Object.keys(facets)[0];
    const buttons = Object.keys(facets).map((name) => el("button", { type: "button", class: "chip", "data-side": name, onclick: () => turn(name) }, name));
    sides.replaceChildren(...buttons);
    element.replaceChildren(el("label", { class: "search" }, icon("search"), search), sides, chips);
    turn(side);
  }

  function turn(name) {
    side = name;
    for (const button of sides.children) button.setAttribute("aria-pressed", String(button.dataset.side === name));
    search.value = "";
    show();
  }

  /** The words of the side, or of all sides while one searches. */
  function show() {
    const wanted = search.value.trim().toLowerCase();
    const from = wanted ? Object.entries(facets) : [[side, facets[side]]];
    const found = from.flatMap(([name, entries]) => entries.filter((word) => word.toLowerCase().includes(wanted)).map((word) => chip(word, name)));
    chips.replaceChildren(...(found.length ? found.slice(0, SHOWN) : [el("p", { class: "quiet" }, "No such word; just type it.")]));
    mark();
  }

  function chip(word, name) {
    const first = name === Object.keys(facets)[0]; // the subject leads
    return el("button", { type: "button", class: "chip", "data-word": word, onclick: () => toggle(areaOf("prompt"), word, { first }) }, word);
  }

  function mark() {
    for (const button of chips.children) if (button.dataset.word) button.setAttribute("aria-pressed", String(holds(prompt, button.dataset.word)));
  }

  return {
    element,
    toggle() {
      element.hidden = !element.hidden;
      if (!element.hidden) open();
      return !element.hidden;
    },
  };
}
