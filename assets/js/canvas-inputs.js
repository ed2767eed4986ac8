// What reaches a canvas from the page as a whole: keys, pasted and dropped pictures. Of several, the one in use answers.

import { isTyping } from "./dom.js";
import { actionOf } from "./canvas-keys.js";
import { brought } from "./canvas-source.js";

const known = [];
let latest = null; // the canvas the artist touched last

const isShown = (canvas) => canvas.element.isConnected && canvas.element.checkVisibility();

/** Keys and pasted pictures are this canvas's: it is on the tab that is open, and was used last of those there. */
export function isListening(canvas) {
  const mine = latest && isShown(latest) ? latest : known.find(isShown);
  return mine === canvas && !document.querySelector("dialog[open]");
}

export function listen(canvas) {
  const { element } = canvas;
  known.push(canvas);
  for (const name of ["pointerdown", "focusin", "dragenter"]) element.addEventListener(name, () => (latest = canvas));
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing || isTyping(event.target) || !canvas.listening) return;
    const name = actionOf(event);
    if (!canvas.sheet || !name || (name.startsWith("pan") && event.target !== canvas.easel)) return;
    event.preventDefault();
    canvas.act(name);
  });
  document.addEventListener("paste", (event) => {
    const picture = brought(event.clipboardData);
    if (!(picture instanceof File) || !canvas.listening) return;
    if (isTyping(event.target) && event.clipboardData.getData("text")) return; // text with a picture of it, as from a table
    event.preventDefault();
    canvas.load(picture);
  });
  element.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].some((type) => type === "Files" || type === "text/uri-list")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    element.toggleAttribute("data-drop", true);
  });
  element.addEventListener("dragleave", (event) => element.contains(event.relatedTarget) || element.removeAttribute("data-drop"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.removeAttribute("data-drop");
    const picture = brought(event.dataTransfer);
    if (picture) canvas.load(picture);
    else canvas.complain("That picture cannot be fetched from here; save it to a file and drop the file.");
  });
}
