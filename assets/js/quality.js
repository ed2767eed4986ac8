// How much work goes into a picture: steps in proportion to what the chosen model likes, with its own sampler.

import { el } from "./dom.js";
import { likes, onShown, put } from "./form.js";

/** [title, share of the steps the model likes, the same for models that need only a few]. */
const LEVELS = [
  ["Draft", 0.5, 0.75],
  ["Standard", 1, 1],
  ["Fine", 1.6, 2],
];
const FEW = 8;

export function mount(element) {
  const level = (share, ofFew) => {
    const { sampler, scheduler, guidance, steps: usual } = likes();
    return { sampler, scheduler, guidance, steps: Math.min(150, Math.ceil(usual * (usual > FEW ? share : ofFew))) };
  };
  const chips = LEVELS.map(([title, share, ofFew]) => el("button", { type: "button", class: "chip", onclick: () => put(level(share, ofFew)) }, title));
  element.replaceChildren(el("div", { class: "quality", role: "group", "aria-label": "Quality" }, ...chips));
  onShown((values) =>
    LEVELS.forEach(([, share, ofFew], i) => {
      const wanted = level(share, ofFew);
      chips[i].title = `${wanted.steps} steps`;
      chips[i].setAttribute("aria-pressed", String(Object.entries(wanted).every(([name, value]) => values[name] === value)));
    }),
  );
}
