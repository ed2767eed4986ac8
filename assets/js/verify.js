// What any picture says of itself: credentials, watermark, settings. It goes to the studio, which keeps nothing of it.

import { el, fill, iconButton } from "./dom.js";
import { verifyPicture } from "./api.js";

const STATES = {
  ours: "Intact, signed by this studio",
  unknown: "Intact, signed by somebody this studio does not know",
  invalid: "Not valid: the picture, or what is said of it, was changed after signing",
};
const SOURCES = {
  trainedAlgorithmicMedia: "Drawn by a model",
  compositeWithTrainedAlgorithmicMedia: "Drawn by a model over another picture",
  digitalCapture: "Taken with a camera",
};

export function verifying() {
  const input = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", hidden: true, onchange: () => input.files[0] && look(input.files[0]) });
  const result = el("div", { class: "verify-result", role: "status" });
  const drop = el(
    "div",
    { class: "verify-drop" },
    el("p", {}, "Drop a picture here to see where it comes from."),
    iconButton("picture", "Choose a picture", () => input.click(), { text: true }),
    input,
  );
  const over = (on) => (event) => {
    event.preventDefault();
    event.stopPropagation();
    drop.toggleAttribute("data-over", on);
  };
  drop.addEventListener("dragover", over(true));
  drop.addEventListener("dragleave", over(false));
  drop.addEventListener("drop", (event) => {
    over(false)(event);
    const file = event.dataTransfer.files[0];
    if (file) look(file);
  });

  async function look(file) {
    fill(result, el("p", {}, "Looking…"));
    try {
      const told = await verifyPicture(file);
      const rows = [...credentials(told.credentials), ...watermark(told.watermark), ...settings(told.reading)];
      fill(result, el("p", { class: "verify-name", dir: "auto" }, `${file.name} · ${told.width} × ${told.height}`), el("dl", { class: "facts" }, ...rows));
    } catch (error) {
      fill(result, el("p", { class: "notice-text" }, error.message));
    }
  }

  return el("section", { class: "settings-part", "aria-label": "Verify a picture" }, el("h3", {}, "Verify a picture"), drop, result);
}

function row(name, value, state) {
  return value ? el("div", { class: "long", "data-state": state }, el("dt", {}, name), el("dd", { dir: "auto" }, String(value))) : null;
}

function credentials(found) {
  if (!found) return [row("Content credentials", "None. They may never have been there, or been taken away by another program.")];
  return [
    row("Content credentials", STATES[found.state], found.state),
    row("What it is", SOURCES[found.source] ?? found.source),
    row("Signed by", [found.signer, found.program].filter(Boolean).join(", with ")),
    row("Model", [found.model, found.licence].filter(Boolean).join(" · ")),
    row("Came from", found.earlier ? `${found.earlier} earlier picture${found.earlier > 1 ? "s" : ""} with credentials` : ""),
    row("Problems", found.problems.join(", ")),
  ];
}

function watermark(found) {
  if (!found) return [row("Watermark", "Not found. That proves nothing: small or much changed pictures lose it.")];
  const scaled = Math.abs(found.scale - 1) > 0.02 ? `, at ${Math.round(found.scale * 100)} % of its size` : "";
  return [row("Watermark", `Found${scaled}: a Pochade drew this, or part of it`, "ours")];
}

function settings(reading) {
  if (!reading) return [row("Settings", "It does not say how it was made.")];
  const { prompt, negative } = reading.settings;
  return [row("Settings by", reading.program), row("Prompt", prompt), row("Negative prompt", negative), row("Seed", reading.settings.seed)];
}
