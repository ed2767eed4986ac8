// One's own presets: the whole form, or parts of it, kept under a name, shared as a file.

import { el, iconButton } from "./dom.js";
import { keepPreset, ownPresets, removePreset, renamePreset } from "./api.js";
import { put, values as formValues } from "./form.js";
import { toast } from "./notices.js";

const LARGEST = 200_000; // bytes of a preset's file
/** What can be kept apart: title → names of controls. */
const PARTS = {
  Prompt: ["prompt"],
  "Negative prompt": ["negative"],
  Styles: ["styles"],
  Model: ["model", "vae"],
  LoRAs: ["loras"],
  Size: ["width", "height"],
  Sampling: ["sampler", "scheduler", "steps", "guidance", "clip_skip"],
  Seed: ["seed"],
  "Number of pictures": ["count"],
};
/** What Image and Inpaint have of their own. */
const OTHERS = "Image and inpaint";
const unusual = new Set(["Seed", "Number of pictures", OTHERS]); // not kept unless one says so

export async function openPresets() {
  const list = el("ul", { class: "own-presets", "aria-label": "Your presets" });
  const problem = el("p", { class: "notice-text", role: "alert" });
  const name = el("input", { type: "text", class: "line", maxlength: "100", placeholder: "Name", "aria-label": "Name of the new preset", autocomplete: "off", required: true });
  const boxes = [...Object.keys(PARTS), OTHERS].map((title) => el("label", { class: "check" }, el("input", { type: "checkbox", value: title, checked: !unusual.has(title) }), title));
  const form = el("form", { class: "keep-preset", onsubmit: keep }, el("div", { class: "keep-name" }, name, el("button", { type: "submit", class: "tool with-text strong" }, "Keep")), el("fieldset", {}, el("legend", { class: "quiet" }, "What is kept"), ...boxes));
  const file = el("input", { type: "file", accept: ".json,application/json", hidden: true, tabindex: "-1", "aria-label": "Preset file", onchange: () => attempt(bringIn) });
  const dialog = el(
    "dialog",
    { class: "sheet presets-sheet", "aria-labelledby": "presets-title", onclose: () => dialog.remove() },
    el("div", { class: "sheet-head" }, el("h2", { id: "presets-title" }, "Presets"), iconButton("close", "Close", () => dialog.close())),
    problem,
    list,
    el("h3", {}, "Keep what is set now"),
    form,
    el("div", { class: "sheet-foot" }, file, iconButton("plus", "From a file…", () => file.click(), { text: true })),
  );

  async function attempt(act) {
    try {
      problem.textContent = "";
      await act();
    } catch (refused) {
      problem.textContent = refused.message;
    }
  }

  async function refresh() {
    const { presets } = await ownPresets();
    const rows = presets.map(row);
    list.replaceChildren(...(rows.length ? rows : [el("li", { class: "quiet" }, "None yet. Set things as you like them and keep them below.")]));
  }

  function row(preset) {
    const use = () => {
      put(preset.values);
      dialog.close();
      toast(`“${preset.name}” is set.`);
    };
    const kept = [...Object.entries(PARTS).filter(([, names]) => names.some((one) => one in preset.values)).map(([title]) => title), "strength" in preset.values && OTHERS].filter(Boolean);
    return el(
      "li",
      {},
      el("button", { type: "button", class: "own-preset", onclick: use }, el("span", { dir: "auto" }, preset.name), el("span", { class: "quiet" }, kept.join(", "))),
      iconButton("brush", `Rename ${preset.name}`, () => rename(preset)),
      iconButton("download", `Save ${preset.name} as a file`, () => save(preset)),
      iconButton("trash", `Remove ${preset.name}`, () => attempt(() => remove(preset))),
    );
  }

  function keep(event) {
    event.preventDefault();
    const now = formValues();
    const chosen = [...form.querySelectorAll("input:checked")].map((box) => box.value);
    const rest = Object.keys(now).filter((one) => !Object.values(PARTS).flat().includes(one));
    const names = chosen.flatMap((title) => PARTS[title] ?? rest);
    attempt(async () => {
      await keepPreset(name.value, Object.fromEntries(names.filter((one) => one in now).map((one) => [one, now[one]])));
      name.value = "";
      await refresh();
    });
  }

  function rename(preset) {
    const input = el("input", { type: "text", class: "line", maxlength: "100", value: preset.name, "aria-label": "New name", autocomplete: "off" });
    const editing = el("form", { class: "keep-name", onsubmit: (event) => (event.preventDefault(), attempt(() => renamePreset(preset.id, input.value).then(refresh))) }, input, el("button", { type: "submit", class: "tool with-text" }, "Rename"));
    [...list.children].find((item) => item.contains(document.activeElement))?.replaceChildren(editing);
    input.select();
  }

  async function remove(preset) {
    await removePreset(preset.id);
    await refresh();
    const undo = async () => {
      await keepPreset(preset.name, preset.values);
      if (dialog.isConnected) await refresh();
    };
    toast(`“${preset.name}” is removed.`, { label: "Undo", run: () => attempt(undo) });
  }

  async function bringIn() {
    const [sent] = file.files;
    file.value = "";
    if (!sent) return;
    const told = sent.size <= LARGEST ? await sent.text().then(JSON.parse).catch(() => null) : null;
    if (typeof told?.name !== "string" || typeof told?.values !== "object") throw new Error("This file is no preset of Pochade.");
    await keepPreset(told.name, told.values);
    await refresh();
  }

  document.body.append(dialog);
  dialog.showModal();
  await attempt(refresh);
}

function save({ name, values }) {
  const address = URL.createObjectURL(new Blob([JSON.stringify({ pochade: "preset", name, values }, null, 1)], { type: "application/json" }));
  el("a", { href: address, download: `${name.replace(/[^\p{L}\p{N} _-]+/gu, "_")}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
