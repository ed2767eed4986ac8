// Several pictures for one set of settings: while the list holds any, Generate draws each of them in turn instead of what
// lies on the canvas. Each travels in a request of its own; what is refused stays in the list.

import { el, iconButton } from "./dom.js";
import { say } from "./notices.js";

const limits = { pixels: Infinity, side: 8, bytes: Infinity };
const pictures = []; // { name, blob, url, width, height }
const flying = []; // sent, and not yet answered
let update = () => {};

export function mount(element, data) {
  Object.assign(limits, data);
  const list = el("ul", { class: "batch-list", "aria-label": "Pictures of the batch" });
  const told = el("p", { class: "quiet", role: "status" });
  const file = el("input", { type: "file", multiple: true, accept: "image/png,image/jpeg,image/webp", hidden: true, tabindex: "-1", "aria-label": "Picture files", onchange: () => add([...file.files]) });
  const choose = iconButton("picture", "Several pictures…", () => file.click(), { text: true });
  const clear = iconButton("close", "Empty the batch", empty);
  element.replaceChildren(el("div", { class: "batch" }, el("div", { class: "batch-head" }, choose, clear, file), told, list));

  async function add(files) {
    file.value = ""; // the same files can be chosen again
    const { readSource } = await import("./canvas-source.js");
    const refused = [];
    for (const [i, one] of files.entries()) {
      told.textContent = `Reading ${i + 1} of ${files.length}…`;
      try {
        const { blob, bitmap, width, height } = await readSource(one, limits);
        bitmap.close();
        pictures.push({ name: one.name, blob, url: URL.createObjectURL(blob), width, height });
      } catch (error) {
        refused.push(`${one.name}: ${error.message}`);
      }
    }
    if (refused.length) say(refused[0] + (refused.length > 1 ? ` (and ${refused.length - 1} more)` : ""), "error");
    update();
  }

  function empty() {
    for (const picture of pictures.splice(0)) URL.revokeObjectURL(picture.url);
    update();
  }

  function tile(picture) {
    const remove = iconButton("close", `Take ${picture.name} out of the batch`, () => {
      URL.revokeObjectURL(picture.url);
      pictures.splice(pictures.indexOf(picture), 1);
      update();
    });
    return el("li", { title: picture.name }, el("img", { src: picture.url, alt: picture.name, width: "56", height: "56" }), remove);
  }

  update = () => {
    const many = pictures.length;
    clear.hidden = list.hidden = !many;
    told.hidden = false;
    told.textContent = many ? `Generate draws ${many === 1 ? "this one" : `these ${many}`} instead of the canvas.` : "";
    list.replaceChildren(...pictures.map(tile));
  };
  update();
}

/** At Generate: the next picture of the list, as a canvas would send it, or null. */
export async function takeFromBatch() {
  const next = pictures.shift();
  if (!next) return null;
  flying.push(next);
  update();
  const { dataUrl } = await import("./canvas-value.js");
  return JSON.stringify({ width: next.width, height: next.height, source: await dataUrl(next.blob), strokes: null });
}

/** A request was accepted; whether another picture of the list follows. */
export function sentOfBatch() {
  const sent = flying.shift();
  if (!sent) return false;
  URL.revokeObjectURL(sent.url);
  update();
  return pictures.length > 0;
}

/** A request was refused: its picture and those after it wait for the artist. Returns the sentence, with its name. */
export function stopBatch(sentence) {
  const refused = flying.shift();
  if (!refused) return sentence;
  pictures.unshift(refused);
  update();
  return `${refused.name}: ${sentence}`;
}
