// Going on from a finished picture: on a canvas, as a variation, or beyond its edges.

import { el, icon, iconButton } from "./dom.js";
import { again } from "./again.js";
import { pan, picture, vary, zoomOut } from "./api.js";
import { go, inRoom, onRoute, route } from "./routes.js";
import { follow, inFront } from "./session.js";
import { sendTo, setView } from "./rooms.js";
import { complain, quiet } from "./notices.js";

const ROOMS = [
  ["image", "To image", "T", "image"],
  ["inpaint", "To inpaint", "P", "brush"],
  ["guide", "To guide", "S", "guide"],
];

/** Buttons that send `current()` to a canvas; in that canvas's own room it becomes the source one goes on from. */
export function sendButtons(current, before) {
  return ROOMS.map(([room, title, key, symbol]) => {
    const label = el("span", {}, title);
    const send = () => {
      const id = current();
      before();
      sendTo(id, room);
    };
    const button = el("button", { type: "button", class: "tool with-text", "aria-keyshortcuts": key, title: `${title} (${key})`, onclick: send }, icon(symbol), label);
    onRoute((tab) => (label.textContent = tab === room && room !== "guide" ? "Use as source" : title));
    return button;
  });
}

/** At a key: the picture that has the focus, is open in full, or stands on the stage. */
export function sendFromHere(room) {
  const dialog = document.querySelector("dialog[open]");
  const id = (dialog ?? document.activeElement)?.closest("[data-picture]")?.dataset.picture ?? (dialog || !inRoom() ? null : inFront());
  if (!id) return;
  dialog?.close();
  sendTo(id, room);
}

/** A button with a menu of what can grow out of `current()`. */
export function furtherMenu(current, before) {
  const shift = (x, y) => async (id) => {
    const { width, height } = await picture(id);
    return pan(id, x * quarter(width), y * quarter(height));
  };
  const entries = [
    ["Subtle variation", (id) => vary(id, "subtle")],
    ["Strong variation", (id) => vary(id, "strong")],
    ["Zoom out 1.5×", (id) => zoomOut(id, 1.5)],
    ["Zoom out 2×", (id) => zoomOut(id, 2)],
    ["Pan to the left", shift(-1, 0)],
    ["Pan upwards", shift(0, -1)],
    ["Pan downwards", shift(0, 1)],
    ["Pan to the right", shift(1, 0)],
    ["Make it again", again],
  ];
  const items = entries.map(([title, grow]) => el("button", { type: "button", class: "menu-item", role: "menuitem", tabindex: "-1", onclick: () => start(grow) }, title));
  const menu = el("div", { class: "menu", role: "menu", "aria-label": "Go on from this picture", popover: "auto", onkeydown: walk }, ...items);
  const open = iconButton("further", "Go on", () => menu.togglePopover(), { text: true, "aria-haspopup": "menu", "aria-expanded": "false" });
  menu.addEventListener("toggle", ({ newState }) => {
    const shown = newState === "open";
    open.setAttribute("aria-expanded", String(shown));
    if (shown) items[0].focus();
  });
  menu.addEventListener("beforetoggle", ({ newState }) => {
    if (newState !== "open") return;
    const box = open.getBoundingClientRect();
    menu.style.left = `${Math.max(8, Math.min(box.left, innerWidth - 224))}px`;
    menu.style.bottom = `${innerHeight - box.top + 4}px`;
  });

  function walk(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const at = items.indexOf(document.activeElement);
    if (step) items.at((at + step) % items.length).focus();
    else if (event.key === "Home" || event.key === "End") items.at(event.key === "Home" ? 0 : -1).focus();
    else if (event.key === "Tab") menu.hidePopover();
    else if (event.key === "Escape") {
      menu.hidePopover();
      open.focus();
    } else return;
    event.stopPropagation(); // not Stop, and not the next picture
    if (event.key !== "Tab") event.preventDefault();
  }

  async function start(grow) {
    const id = current();
    menu.hidePopover();
    before();
    try {
      const job = await grow(id);
      quiet();
      if (!inRoom()) go("create");
      else if (route() !== "create") setView("result");
      follow(job.id);
    } catch (refused) {
      complain(refused);
    }
  }

  return el("span", { class: "menu-place" }, open, menu);
}

const quarter = (side) => Math.max(8, Math.round(side / 32) * 8);
