// Two ways to say something: a sentence in the status strip that stays, a toast with at most one action that goes.

import { el, iconButton } from "./dom.js";

const STAYS = 8000;
const listeners = new Set();
let stack = null;

/** The sentence of the status strip: `kind` is "error", "info" or "" for none. */
export const notice = { text: "", kind: "", action: null };

export function onNotice(listener) {
  listeners.add(listener);
  listener(notice);
}

/** `action`: { label, run }, as for a toast */
export function say(text, kind = "info", action = null) {
  Object.assign(notice, { text, kind: text ? kind : "", action });
  for (const listener of listeners) listener(notice);
}

export const complain = (error) => say(error.message, "error");
export const quiet = () => say("");

/** `action`: { label, run } */
export function toast(text, action = null) {
  if (!stack) {
    stack = el("div", { class: "toasts", role: "status", "aria-live": "polite" });
    // A modal dialog covers everything else, so toasts float in the top layer as well.
    stack.popover = "manual";
    document.body.append(stack);
  }
  const away = () => {
    shown.remove();
    if (!stack.childElementCount) stack.hidePopover();
  };
  let timer = setTimeout(away, STAYS);
  const act = () => {
    away();
    action.run();
  };
  const shown = el(
    "div",
    {
      class: "toast",
      onpointerenter: () => clearTimeout(timer),
      onpointerleave: () => (timer = setTimeout(away, STAYS)),
      onfocusin: () => clearTimeout(timer),
    },
    el("span", {}, text),
    action && el("button", { type: "button", class: "toast-action", onclick: act }, action.label),
    iconButton("close", "Dismiss", away),
  );
  stack.append(shown);
  while (stack.childElementCount > 3) stack.firstElementChild.remove();
  if (stack.matches(":popover-open")) stack.hidePopover();
  stack.showPopover();
}
