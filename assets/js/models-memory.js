// What is in memory: two bars and the models behind them.

import { el, fill, iconButton, setText, size } from "./dom.js";
import { engine, pinModel, unloadModel } from "./api.js";
import { toast } from "./notices.js";

const STATES = { loading: "loading", busy: "drawing", idle: "ready" };

export function memoryBar() {
  const bars = el("div", { class: "memory-bars" });
  const list = el("ul", { class: "memory-models", "aria-label": "Models in memory" });
  const element = el("section", { class: "memory", "aria-label": "Memory" }, bars, list);
  element.hidden = true;
  const meters = new Map();
  let told = "";

  const bar = {
    element,
    owner: false,
    async refresh() {
      const now = await engine().catch(() => null);
      if (!now) return;
      const { memory } = now;
      const own = bar.owner;
      if (JSON.stringify([memory, now.device, own]) === told) return;
      told = JSON.stringify([memory, now.device, own]);
      element.hidden = !memory.card_budget && !memory.host_budget;
      const shown = [
        memory.card_budget && meter("card", now.device || "Device", memory.card, memory.card_budget),
        memory.host_budget && meter("host", "Main memory", memory.host, memory.host_budget, memory.host_locked),
      ];
      fill(bars, ...shown);
      list.replaceChildren(...memory.models.map((held) => row(held, own)));
    },
  };

  function meter(name, title, used, budget, locked = 0) {
    if (!meters.has(name)) {
      const text = el("span", { class: "memory-text" });
      const part = el("span", { class: "memory-used" });
      const track = el("div", { class: "memory-track", role: "meter", "aria-valuemin": "0" }, part);
      meters.set(name, { whole: el("div", { class: "memory-bar" }, el("div", { class: "memory-line" }, el("span", {}, title), text), track), text, part, track });
    }
    const { whole, text, part, track } = meters.get(name);
    const pinned = locked ? `, ${size(locked)} of it pinned` : "";
    setText(text, `${size(used)} of ${size(budget)} for models${pinned}`);
    part.style.width = `${Math.min(100, (100 * used) / budget)}%`;
    track.setAttribute("aria-label", title);
    track.setAttribute("aria-valuemax", String(budget));
    track.setAttribute("aria-valuenow", String(Math.min(used, budget)));
    track.setAttribute("aria-valuetext", `${size(used)} of ${size(budget)}`);
    return whole;
  }

  function row(held, own) {
    const act = (run) => run().then(bar.refresh, (error) => toast(error.message));
    const facts = [STATES[held.state], size(Math.max(held.card, held.host)), held.mode && held.mode !== "whole" && held.mode].filter(Boolean).join(" · ");
    return el(
      "li",
      { "data-state": held.state },
      el("span", { class: "memory-title", dir: "auto" }, held.title),
      el("span", { class: "quiet" }, facts),
      own && iconButton("pin", `Keep ${held.title} in memory`, () => act(() => pinModel(held.key, !held.pinned)), { "aria-pressed": String(held.pinned) }),
      own && iconButton("close", `Take ${held.title} out of memory`, () => act(() => unloadModel(held.key)), { disabled: held.state === "busy" }),
    );
  }

  return bar;
}
