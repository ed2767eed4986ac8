// A model that is about to be drawn with starts to load, before anybody presses Generate.

import { prepareModel } from "./api.js";
import { onShown } from "./form.js";

const DECIDED = 400; // milliseconds one stays with a choice
let wish = 0;
let last = null;

/** The engine may have better things to do; nothing is told of it. */
export function ahead(key) {
  clearTimeout(wish);
  if (!key || key === last) return;
  wish = setTimeout(() => {
    last = key;
    prepareModel(key).catch(() => {});
  }, DECIDED);
}

/** What stands in the form when the page opens is loaded by the first picture, or is loaded already. */
export function start() {
  let chosen = null;
  onShown(({ model }) => {
    if (chosen !== null && model !== chosen) ahead(model);
    chosen = model ?? chosen;
  });
}
