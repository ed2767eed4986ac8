// The line on top: name, tabs, what the engine does, dark or light, help.

import { el, icon, iconButton, remember, setText, duration } from "./dom.js";
import { live, subscribe } from "./live.js";
import { showHelp } from "./shortcuts.js";
import { onRoute } from "./routes.js";
import { onAble, refusal } from "./able.js";

const TABS = [
  ["create", "Text"],
  ["image", "Image"],
  ["inpaint", "Inpaint"],
  ["guide", "Guide"],
  ["models", "Models"],
  ["gallery", "Gallery"],
];

export function mount(element) {
  const links = TABS.map(([name, title]) => el("a", { href: `#${name}`, "data-tab": name }, title));
  const lamp = el("span", { class: "lamp", "aria-hidden": "true" });
  const line = el("span", { class: "engine-text" }, "Connecting…");
  const theme = iconButton("moon", "Light", toggleTheme);
  element.replaceChildren(
    el(
      "header",
      { class: "bar" },
      el("h1", { class: "name" }, "Pochade"),
      el("nav", { class: "tabs", "aria-label": "Rooms of the studio" }, ...links),
      el("div", { class: "engine", role: "status", id: "engine-status" }, lamp, line),
      theme,
      iconButton("help", "Keyboard shortcuts", showHelp, { "aria-keyshortcuts": "?" }),
    ),
  );
  function toggleTheme() {
    const next = document.documentElement.dataset.theme === "light" ? "dark" : "light";
    document.documentElement.dataset.theme = next;
    remember("theme", next);
    dress();
  }
  function dress() {
    const light = document.documentElement.dataset.theme === "light";
    theme.replaceChildren(icon(light ? "moon" : "sun"));
    theme.title = light ? "Change to dark" : "Change to light";
    theme.setAttribute("aria-label", theme.title);
  }
  dress();
  onRoute((tab) => {
    for (const link of links) {
      if (link.dataset.tab === tab) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  });
  onAble(() => {
    for (const link of links) {
      const reason = refusal(link.dataset.tab);
      link.title = reason;
      link.toggleAttribute("data-unable", Boolean(reason));
    }
  });
  subscribe(() => {
    const [state, text] = describe();
    lamp.dataset.state = state;
    setText(line, text);
    document.title = title();
  });
}

/** The lamp's state and one line of plain language. */
function describe() {
  if (!live.connected || !live.board) return ["away", "Reconnecting…"];
  const { engine, running, waiting, trouble } = live.board;
  if (trouble) return ["trouble", trouble];
  if (!running && waiting.length) {
    const first = waiting[0];
    const before = first.position > 0 ? `${first.position} before you` : "you are next";
    const about = first.seconds === null ? "" : `, about ${duration(first.seconds)}`;
    return ["busy", `Waiting: ${before}${about}`];
  }
  const more = waiting.length ? ` · ${waiting.length} waiting` : "";
  switch (engine.state) {
    case "starting":
      return ["busy", engine.detail || "Starting the engine…"];
    case "loading":
      return ["busy", engine.detail || "Loading the model…"];
    case "restarting":
      return ["trouble", engine.detail || "The engine stopped and starts again…"];
    case "stopped":
      return ["trouble", engine.detail || "The engine is stopped."];
    default:
      if (running) return ["busy", ["Drawing", engine.model].filter(Boolean).join(" · ") + more];
      if (engine.state === "busy") return ["busy", engine.detail || "Busy"];
      return ["ready", ["Ready", engine.model, engine.device].filter(Boolean).join(" · ") + more];
  }
}

function title() {
  const running = live.connected && live.board?.running;
  return running && running.steps ? `${running.step}/${running.steps} · Pochade` : "Pochade";
}
