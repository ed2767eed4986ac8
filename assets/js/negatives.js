// Below the negative prompt: what is often unwanted in pictures of the chosen model.

import { el } from "./dom.js";
import { negatives } from "./api.js";
import { areaOf, holds, toggle } from "./prompt-text.js";
import { onShown } from "./form.js";

export function mount(element) {
  let model = null;
  let chips = [];
  let text = "";

  async function follow(key) {
    const { words } = await negatives(key).catch(() => ({ words: [] }));
    if (key !== model) return;
    chips = words.map((word) => el("button", { type: "button", class: "chip", onclick: () => toggle(areaOf("negative"), word) }, word));
    element.replaceChildren(el("div", { class: "negatives", role: "group", "aria-label": "Often unwanted" }, ...chips));
    mark();
  }

  function mark() {
    for (const chip of chips) chip.setAttribute("aria-pressed", String(holds(text, chip.textContent)));
  }

  onShown((values) => {
    text = values.negative ?? "";
    mark();
    if (values.model === model) return;
    model = values.model;
    follow(model ?? "");
  });
}
