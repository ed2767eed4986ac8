// The keyboard: one table for what the keys do and for the help that tells it.

import { el, iconButton, isTyping } from "./dom.js";
import { go, goBack, inRoom, route } from "./routes.js";
import { SHORTCUTS as ON_A_CANVAS } from "./canvas-keys.js";

const SHORTCUTS = [
  [["Ctrl", "Enter"], "Generate"],
  [["Ctrl", "↑", "↓"], "In a prompt: the weight of the words there"],
  [["Esc"], "Stop drawing"],
  [["X"], "Swap width and height"],
  [["T"], "Send the picture to Image"],
  [["P"], "Send the picture to Inpaint"],
  [["S"], "Follow the picture as a guide"],
  [["C"], "Canvas, or the result"],
  [["D"], "Compare the result with its source"],
  [["G"], "Gallery, and back"],
  [["←", "→"], "Previous and next picture"],
  [["/"], "Search in the gallery"],
  [["?"], "This help"],
];

let help = null;

export function showHelp() {
  if (!help) {
    const rows = (table) =>
      table.map(([keys, does]) => el("div", { class: "shortcut" }, el("dt", {}, ...keys.map((key) => el("kbd", {}, key))), el("dd", {}, does)));
    help = el(
      "dialog",
      { class: "sheet help", "aria-labelledby": "help-title", onclick: (event) => event.target === help && help.close() },
      el("div", { class: "sheet-head" }, el("h2", { id: "help-title" }, "Keyboard shortcuts"), iconButton("close", "Close", () => help.close())),
      el("dl", { class: "shortcuts" }, ...rows(SHORTCUTS)),
      el("h3", {}, "On a canvas"),
      el("dl", { class: "shortcuts" }, ...rows(ON_A_CANVAS)),
      el("p", { class: "quiet" }, "Double-click the name of a setting to put its default back."),
    );
    document.body.append(help);
  }
  help.showModal();
}

/** `actions`: generate, stop, swap, toggleView(one, other), send(room) */
export function listen(actions) {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.isComposing) return;
      const modal = document.querySelector("dialog[open]");
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !modal && inRoom()) {
        event.preventDefault();
        event.stopPropagation();
        actions.generate();
        return;
      }
      const room = { t: "image", p: "inpaint", s: "guide" }[event.key.toLowerCase()];
      if (room && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target) && (!modal || modal.dataset.picture)) {
        event.preventDefault();
        actions.send(room);
        return;
      }
      if (modal || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") {
        // An open list of choices closes first; the next press stops.
        if (!document.activeElement?.closest("[role=combobox][aria-expanded=true]")) actions.stop();
        return;
      }
      if (isTyping(event.target)) return;
      const key = event.key.toLowerCase();
      if (key === "x" && inRoom()) actions.swap();
      else if (key === "c" && inRoom()) actions.toggleView("canvas", "result");
      else if (key === "d" && inRoom()) actions.toggleView("compare", "result");
      else if (key === "g") route() === "gallery" ? goBack() : go("gallery");
      else if (event.key === "?") showHelp();
      else if (event.key === "/") {
        go("gallery");
        requestAnimationFrame(() => document.getElementById("gallery-search")?.focus());
      } else return;
      event.preventDefault();
    },
    true,
  );
}
