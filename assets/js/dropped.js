// Any picture dropped on the page, pasted into a prompt or chosen: what it says of how it was made, and all of it restored
// at one click. Everything in it is somebody else's text, and stays text.

import { el, icon, iconButton, isTyping } from "./dom.js";
import { readPicture } from "./api.js";
import { put, reuse } from "./form.js";
import { adoptGuides } from "./guide-units.js";
import { inRoom, route } from "./routes.js";
import { AREAS } from "./prompt-text.js";
import { complain, toast } from "./notices.js";

const TITLES = {
  prompt: "Prompt",
  negative: "Negative prompt",
  styles: "Styles",
  model: "Model",
  sampler: "Sampler",
  scheduler: "Schedule type",
  steps: "Steps",
  guidance: "Guidance scale",
  seed: "Seed",
  strength: "Strength",
  clip_skip: "Clip skip",
  vae: "VAE",
};

const isPicture = (file) => /^image\//.test(file?.type ?? "");

/** Show what `file` says of itself. */
export async function readSettings(file) {
  try {
    open(file, await readPicture(file));
  } catch (refused) {
    complain(refused);
  }
}

/** Lets one choose the file; for those who cannot drop one. */
export function chooseFile() {
  const input = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", onchange: () => readSettings(input.files[0]) });
  input.click();
}

function open(file, told) {
  const address = URL.createObjectURL(file);
  const rows = [...described(told.settings)].map(([name, value]) => row(name, value));
  const others = Object.entries(told.others).map(([name, value]) => row(name, value));
  const close = () => dialog.close();
  const act = (run) => () => (close(), run());
  const dialog = el(
    "dialog",
    {
      class: "sheet said",
      "aria-labelledby": "said-title",
      onclose: () => {
        URL.revokeObjectURL(address);
        dialog.remove();
      },
    },
    el("div", { class: "sheet-head" }, el("h2", { id: "said-title" }, "How this picture was made"), iconButton("close", "Close", close)),
    el("div", { class: "said-head" }, el("img", { src: address, alt: "", width: "96", height: "96" }), el("div", {}, el("p", {}, `By ${told.program}`), el("p", { class: "quiet", dir: "auto" }, file.name))),
    told.missing.length ? el("ul", { class: "said-missing", "aria-label": "Not here" }, ...told.missing.map((sentence) => el("li", { dir: "auto" }, sentence))) : null,
    rows.length ? el("dl", { class: "facts" }, ...rows) : el("p", { class: "quiet" }, "It says nothing that can be set here."),
    others.length ? el("details", { class: "said-others" }, el("summary", {}, `Also said, without a place here (${others.length})`), el("dl", { class: "facts" }, ...others)) : null,
    el(
      "div",
      { class: "sheet-foot" },
      el("button", { type: "button", class: "tool with-text", disabled: !told.settings.prompt, onclick: act(() => restorePrompt(told)) }, "Only the prompt"),
      el("button", { type: "button", class: "tool with-text strong", disabled: !rows.length, onclick: act(() => restore(told)) }, icon("sliders"), "Use all settings"),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector(".strong").focus();
}

const row = (name, value) => el("div", { class: String(value).length > 40 ? "long" : null }, el("dt", {}, name), el("dd", { dir: "auto" }, String(value)));

function* described(settings) {
  const { width, height, loras = [], controls = [] } = settings;
  for (const [name, title] of Object.entries(TITLES)) {
    const value = settings[name];
    if (value !== null && value !== undefined && String(value) !== "") yield [title, Array.isArray(value) ? value.join(", ") : value];
  }
  if (width && height) yield ["Size", `${width} × ${height}`];
  if (loras.length) yield ["LoRAs", loras.map(({ name, weight }) => `${name} × ${weight}`).join(", ")];
  if (controls.length) yield ["Guides", controls.length === 1 ? "a pose" : `${controls.length} poses`];
}

/** A picture that is still in the gallery brings its source, mask and guides along; of others, what they say: poses, too. */
function restore({ settings, picture }) {
  if (picture) {
    reuse(picture);
    return;
  }
  const { inpaint = {}, outpaint, loras = [], controls = [], ...rest } = settings;
  const tags = loras.map(({ name, weight, text_weight: text }) => `<lora:${name}:${text === null || text === undefined ? weight : `${text}:${weight}`}>`);
  const own = { strength: rest.strength, repaint: rest.strength, ...inpaint, ...outpaint };
  put({ ...rest, ...own, prompt: [rest.prompt, ...tags].filter(Boolean).join(" ") }, { whole: true });
  adoptGuides(controls); // those here now were not that picture's
  toast("These are the settings that picture tells of.");
}

function restorePrompt({ settings: { prompt, negative = "" } }) {
  put({ prompt, negative });
}

/** A picture among what is dragged or pasted, before anybody may look into it. */
const brings = (transfer) => [...(transfer?.items ?? [])].some(({ kind, type }) => kind === "file" && type.startsWith("image/"));

/** Canvases and lists of pictures take for themselves what is dropped on them. */
const isFree = (event) => !event.defaultPrevented && (inRoom() || route() === "gallery") && !document.querySelector("dialog[open]");

export function start() {
  const page = document.documentElement;
  const done = () => page.removeAttribute("data-dropping");
  document.addEventListener("dragover", (event) => {
    if (!isFree(event) || !brings(event.dataTransfer)) return done();
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    page.setAttribute("data-dropping", "");
  });
  document.addEventListener("dragleave", (event) => !event.relatedTarget && done());
  document.addEventListener("drop", (event) => {
    done();
    const file = [...event.dataTransfer.files].find(isPicture);
    if (!file || !isFree(event)) return;
    event.preventDefault();
    readSettings(file);
  });
  // Before the canvases, which take pictures pasted anywhere else.
  document.addEventListener(
    "paste",
    (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find(isPicture);
      const free = !isTyping(event.target) && !event.target.closest?.(".canvas");
      const here = event.target.matches?.(AREAS) || (route() === "create" && free);
      if (!file || !here || event.clipboardData.getData("text") || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      readSettings(file);
    },
    true,
  );
}
