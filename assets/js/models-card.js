// One model, LoRA or other file: as a card, and opened with everything that is known of it.

import { el, fill, icon, iconButton, size } from "./dom.js";
import { engine, modelEntry, noteModel, prepareModel, restoreModel, runModel, startWithModel, trashModel, url } from "./api.js";
import { abilities, chooseModel, type, typed } from "./form.js";
import { ahead } from "./ahead.js";
import { wear } from "./loras.js";
import { goBack } from "./routes.js";
import { toast } from "./notices.js";

/** Whether what goes with models of the families `kin` goes with one that can do `can`. */
export const suits = ({ kin }, can) => !kin.length || !can?.kin || kin.includes(can.kin);

export const GROUPS = {
  model: "Models",
  lora: "LoRAs",
  embedding: "Embeddings",
  vae: "VAEs",
  controlnet: "ControlNets",
  "text-encoder": "Text encoders",
  other: "Others",
};
const ONE = { model: "Model", lora: "LoRA", embedding: "Embedding", vae: "VAE", controlnet: "ControlNet", "text-encoder": "Text encoder", other: "Other" };
const USE = { yes: "Commercial use", no: "Not for commercial use", conditions: "Commercial use with conditions" };

const WAYS = {
  auto: "As there is room",
  whole: "All of it at once: the fastest",
  offload: "Part by part",
  groups: "Block by block: slower, needs little memory",
  "groups-tiled": "Block by block, decoded in tiles",
  "8-bit": "Weights in eight bits: least memory, slightly other pictures",
  tiled: "Decoded in tiles: large pictures in little memory",
  half: "Weights in half precision: half the memory",
  compiled: "Compiled: a slow first picture, then faster ones",
  torchao: "Weights in 8 bits by torchao, without LoRAs",
  sdnq: "Weights in 4 bits by SDNQ, without LoRAs",
  bitsandbytes: "Weights in 4 bits by bitsandbytes, without LoRAs",
};

/** What may be earned with it, as a badge; nothing where nobody knows. */
export function licenceBadge({ licence, commercial }) {
  if (!licence && !commercial) return null;
  return el("span", { class: "badge", "data-use": commercial, title: USE[commercial] ?? null }, licence || USE[commercial]);
}

/** `open(id)` shows it in full. */
export function card(facts, open) {
  const picture = facts.preview
    ? el("img", { src: url.modelPreview(facts.id, facts.preview), alt: "", loading: "lazy", decoding: "async" })
    : el("span", { class: "model-blank" }, icon(facts.group === "model" ? "box" : facts.group === "lora" ? "sliders" : "page"));
  if (facts.preview) picture.addEventListener("error", () => picture.replaceWith(el("span", { class: "model-blank" }, icon("box"))), { once: true });
  const kind = [facts.family_title || ONE[facts.group], facts.bytes && size(facts.bytes), facts.precision].filter(Boolean).join(" · ");
  const button = el(
    "button",
    { type: "button", class: "model-open", onclick: () => open(facts.id) },
    el("span", { class: "model-picture" }, picture),
    el("span", { class: "model-title", dir: "auto" }, facts.title),
    el("span", { class: "model-kind" }, kind),
  );
  const badges = [
    facts.default && el("span", { class: "badge strong" }, "Starts with this"),
    facts.group !== "model" && el("span", { class: "badge" }, ONE[facts.group]),
    licenceBadge(facts),
  ].filter(Boolean);
  return el(
    "li",
    { class: "model-card", "data-id": facts.id, "data-refused": Boolean(facts.refused) },
    button,
    badges.length ? el("div", { class: "badges" }, ...badges) : null,
    facts.refused && el("p", { class: "model-refused" }, facts.refused),
    facts.triggers.length ? el("p", { class: "model-words", dir: "auto" }, facts.triggers.slice(0, 4).join(", ")) : null,
    facts.note && el("p", { class: "model-note", dir: "auto" }, facts.note),
  );
}

/** `around`: { changed(), closed() } */
export async function openCard(id, around) {
  let known;
  try {
    known = await modelEntry(id);
  } catch (error) {
    toast(error.message);
    around.changed();
    return;
  }
  const problem = el("p", { class: "notice-text", role: "alert" });
  const leave = () => dialog.close();
  const dialog = el(
    "dialog",
    {
      class: "sheet model-sheet",
      "aria-labelledby": "model-sheet-title",
      onclose: () => {
        dialog.remove();
        around.closed();
      },
    },
    el("div", { class: "sheet-head" }, el("h2", { id: "model-sheet-title", dir: "auto" }, known.title), iconButton("close", "Close", leave)),
    known.preview ? el("img", { class: "model-sheet-picture", src: url.modelPreview(known.id, known.preview), alt: "" }) : null,
    known.refused && el("p", { class: "model-refused" }, known.refused),
    actions(),
    problem,
    words(),
    facts(),
    way(),
    note(),
  );
  document.body.append(dialog);
  dialog.showModal();

  /** Do it; what went wrong is told in the sheet. */
  async function attempt(act) {
    try {
      await act();
      problem.textContent = "";
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  function actions() {
    const usable = !known.refused;
    const buttons = [
      usable && known.group === "model" && iconButton("brush", "Draw with it", draw, { text: true, class: "tool with-text primary", onpointerenter: () => ahead(known.key), onfocus: () => ahead(known.key) }),
      usable && known.group === "model" && iconButton("play", "Load now", () => attempt(load), { text: true }),
      usable && known.group === "lora" && iconButton("plus", "Use it", wearIt, { text: true, class: "tool with-text primary" }),
      usable && known.group === "embedding" && iconButton("plus", "Add to the prompt", () => say(known.title), { text: true, class: "tool with-text primary" }),
      usable && known.group === "model" && owns && !known.default && iconButton("star", "Start with this one", () => attempt(prefer), { text: true }),
      owns && !known.embedded && iconButton("trash", "Move to the trash", () => attempt(remove), { text: true }),
    ];
    return el("div", { class: "model-actions" }, ...buttons.filter(Boolean));
  }

  function draw() {
    chooseModel(known.key);
    leave();
    goBack();
    toast(`Drawing with ${known.title} from now on.`);
  }

  async function load() {
    await prepareModel(known.key);
    toast(`${known.title} is being loaded.`);
  }

  async function prefer() {
    await startWithModel(known.id);
    toast(`The studio starts with ${known.title} from now on.`);
    leave();
    around.changed();
  }

  async function remove() {
    await trashModel(known.id);
    leave();
    around.changed();
    toast("Moved to the trash.", {
      label: "Undo",
      run: async () => {
        await restoreModel(known.id).catch((error) => toast(error.message));
        around.changed();
      },
    });
  }

  function wearIt() {
    wear(known);
    leave();
    goBack();
    toast(abilities()?.lora ? `${known.title} is in use now.` : `The chosen model takes no LoRAs; ${known.title} waits for one that does.`);
  }

  function say(text) {
    const before = typed("prompt").trimEnd();
    type("prompt", before ? `${before}${before.endsWith(",") ? "" : ","} ${text}` : text);
    leave();
    goBack();
    toast(`${known.title} is in the prompt now.`);
  }

  function words() {
    if (!known.triggers.length) return null;
    const copy = (word) => navigator.clipboard.writeText(word).then(() => toast("Copied."), () => toast("The browser did not allow copying."));
    return el("div", { class: "model-triggers", role: "group", "aria-label": "Trigger words" }, ...known.triggers.map((word) => el("button", { type: "button", class: "chip", title: "Copy", onclick: () => copy(word) }, word)));
  }

  function facts() {
    const { likes } = known;
    const rows = [
      ["Kind", [ONE[known.group], known.content && known.content !== "lora" && `(${known.content})`, known.kind !== "file" && known.kind !== "component" && known.kind].filter(Boolean).join(" ")],
      ["Family", known.family_title],
      ["Can do", known.can.join(", ")],
      ["Likes", likes && `${likes.width} × ${likes.height}, ${likes.steps} steps, guidance ${likes.guidance}, ${likes.sampler} ${likes.scheduler}`],
      ["Size", [known.bytes && size(known.bytes), known.parameters && `${count(known.parameters)} parameters`, known.precision].filter(Boolean).join(" · ")],
      ["Licence", [known.licence, USE[known.commercial]].filter(Boolean).join(": ")],
      ["Its maker says", known.about],
      ["Also called", known.alias],
      ["Hash", known.digest],
      ["SHA-256", known.sha256],
      ["File", known.path],
    ].filter(([, value]) => value);
    return el("dl", { class: "facts" }, ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { dir: "auto" }, value))));
  }

  /** How it is run: as the room allows, or as its owner says. */
  function way() {
    if (!owns || known.group !== "model" || known.refused) return null;
    const box = el("div", { class: "model-own" });
    engine().then(({ memory }) => {
      const there = ["auto", ...memory.modes];
      const select = el("select", { id: "model-way", onchange: () => attempt(() => runModel(known.key, select.value)) });
      select.append(...there.map((mode) => el("option", { value: mode, selected: mode === known.mode }, WAYS[mode] ?? mode)));
      select.append(...memory.missing.map(([mode, why]) => el("option", { value: mode, disabled: true }, why)));
      if (memory.modes.length) box.replaceChildren(el("label", { for: "model-way" }, "How it is run"), select);
    }, () => {});
    return box;
  }

  function note() {
    if (!owns) return known.note ? el("p", { class: "model-note", dir: "auto" }, known.note) : null;
    const area = el("textarea", { id: "model-note", rows: "3", maxlength: "4000", placeholder: "What it is good for, what it wants", dir: "auto", onchange: () => attempt(keep) });
    area.value = known.note;
    const done = el("span", { class: "quiet", role: "status" });
    async function keep() {
      await noteModel(known.id, area.value);
      fill(done, document.createTextNode("Kept."));
      around.changed();
    }
    return el("div", { class: "model-own" }, el("label", { for: "model-note" }, "Notes"), area, done);
  }
}

/** "4.2 million", "12 billion", "800" */
function count(number) {
  const [unit, name] = number >= 1e9 ? [1e9, " billion"] : number >= 1e6 ? [1e6, " million"] : [1, ""];
  return (number / unit).toLocaleString("en", { maximumFractionDigits: unit > 1 && number / unit < 10 ? 1 : 0 }) + name;
}

/** Whether this person owns the studio; told with every list. */
let owns = false;
export function knowOwner(owner) {
  owns = owner;
}
