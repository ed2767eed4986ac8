// The line below the prompt: how much of it is read, and the doors to what helps to write it.

import { el, iconButton } from "./dom.js";
import { surprise } from "./api.js";
import { onShown } from "./form.js";
import { areaOf, rewrite } from "./prompt-text.js";
import { builder } from "./builder.js";
import { chooseFile } from "./dropped.js";
import { complain } from "./notices.js";
import { openHelp } from "./prompt-help.js";
import { openPresets } from "./presets.js";
import { openXray } from "./xray.js";
import * as tokens from "./tokens.js";

export function mount(element) {
  const meter = el("div", { class: "prompt-meter" });
  const panel = builder();
  let model = "";
  onShown((values) => (model = values.model ?? ""));

  const build = iconButton("words", "Build the prompt from words", () => build.setAttribute("aria-expanded", String(panel.toggle())), { "aria-expanded": "false", "aria-controls": "builder" });
  async function surpriseMe() {
    try {
      const { prompt } = await surprise(model);
      rewrite(areaOf("prompt"), prompt);
    } catch (refused) {
      complain(refused);
    }
  }

  element.replaceChildren(
    el(
      "div",
      { class: "prompt-tools", role: "toolbar", "aria-label": "Tools for the prompt" },
      build,
      iconButton("dice", "Surprise me", surpriseMe),
      iconButton("wand", "Improve the prompt", () => openHelp(model)),
      iconButton("heat", "X-ray: which words work", openXray),
      iconButton("bookmark", "Presets of your own", openPresets),
      iconButton("page", "Settings from a picture; or drop one anywhere", chooseFile),
      meter,
    ),
    panel.element,
  );
  tokens.mount(meter, "prompt");
}
