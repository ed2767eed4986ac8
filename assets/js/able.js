// What the chosen model can do: the page shows that and nothing else.

import { el, fill } from "./dom.js";
import { abilities, likes, onShown } from "./form.js";
import { ROOMS, onRoute, route } from "./routes.js";

const listeners = new Set();

/** Why the chosen model cannot do what a room is for; "" if it can. */
export const refusal = (room = route()) => abilities()?.cannot[room] ?? "";

/** `listener` is told whenever another model, or another room, is chosen. */
export function onAble(listener) {
  listeners.add(listener);
  if (abilities()) listener(abilities());
}

/** Below the list of models: why this one is not for this room, and what it may be used for. */
export function note(element) {
  const text = el("p", { class: "unable", role: "status" });
  onAble(() => {
    const { terms } = likes();
    text.textContent = refusal();
    fill(element, refusal() && text, terms && el("p", { class: "quiet terms" }, `Licence: ${terms}`));
  });
}

function tell() {
  const can = abilities();
  if (!can) return;
  const page = document.documentElement;
  Object.assign(page.dataset, { guidance: can.guidance, negative: can.negative ? "read" : "unread", clip: can.clip_skip ? "read" : "unread", picture: can.reads ? "read" : "drawn" });
  const generate = document.getElementById("generate");
  if (generate) generate.disabled = ROOMS.includes(route()) && Boolean(refusal());
  for (const listener of listeners) listener(can);
}

export function start() {
  onShown(tell);
  onRoute(tell);
}
