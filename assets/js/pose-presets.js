// Poses to begin with: figures in a sheet of small pictures.

import { poses, url } from "./api.js";
import { el, iconButton } from "./dom.js";

let known = null;
const all = () => (known ??= poses().catch((refused) => ((known = null), Promise.reject(refused))));

/** The pose an artist picks, or null. */
export async function choosePreset() {
  const rows = await all();
  const { promise, resolve } = Promise.withResolvers();
  const tiles = rows.map(({ key, title, pose }) =>
    el("button", { type: "button", class: "pose-preset", onclick: () => close(pose) }, el("img", { src: url.pose(key), alt: "", width: "96", height: "128", loading: "lazy" }), el("span", {}, title)),
  );
  const sheet = el(
    "dialog",
    { class: "sheet pose-sheet", "aria-labelledby": "pose-sheet-title", onclose: () => close(null) },
    el("div", { class: "sheet-head" }, el("h2", { id: "pose-sheet-title" }, "Poses"), iconButton("close", "Close", () => close(null))),
    el("div", { class: "pose-presets" }, ...tiles),
  );
  sheet.addEventListener("click", (event) => event.target === sheet && close(null));
  function close(pose) {
    resolve(pose);
    sheet.remove();
  }
  document.body.append(sheet);
  sheet.showModal();
  return promise;
}

/** Somebody upright, on a page of 96 × 128: nose, neck, arms, legs, eyes, ears. */
export const standing = () => ({
  width: 96,
  height: 128,
  people: [
    {
      body: [[48, 21], [48, 33], [39, 34], [34, 50], [32, 65], [57, 34], [62, 50], [64, 65], [42, 65], [41, 89], [40, 113], [54, 65], [55, 89], [56, 113], [46, 18], [50, 18], [42, 20], [54, 20]],
      left_hand: [],
      right_hand: [],
      face: [],
    },
  ],
}); // prettier-ignore
