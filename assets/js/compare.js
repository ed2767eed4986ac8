// Two pictures over one another, with a line to pull; first one is chosen, then the other.

import { el, iconButton } from "./dom.js";
import { picture, url } from "./api.js";
import { complain } from "./notices.js";

const listeners = new Set();
export const comparing = { first: null }; // the id that waits for its partner

export function onCompare(listener) {
  listeners.add(listener);
  listener(comparing.first);
}

function set(id) {
  comparing.first = id;
  for (const listener of listeners) listener(id);
}

export const beginCompare = (id) => set(id);
export const cancelCompare = () => set(null);

/** Whether the click on `id` was the choice of the second picture. */
export function pickedForCompare(id) {
  const first = comparing.first;
  if (!first) return false;
  set(null);
  if (first !== id) showCompare(first, id).catch(complain);
  return true;
}

async function showCompare(first, second) {
  const [before, after] = await Promise.all([picture(first), picture(second)]);
  const left = el("img", { src: url.file(first), alt: `Left: ${before.prompt}` });
  const right = el("img", { src: url.file(second), alt: `Right: ${after.prompt}` });
  const { frame, line } = slider(left, right, after);
  const dialog = el(
    "dialog",
    { class: "sheet wide compare", "aria-label": "Compare two pictures", onclose: () => dialog.remove() },
    el("div", { class: "sheet-head" }, el("h2", {}, "Compare"), iconButton("close", "Close", () => dialog.close())),
    el("div", { class: "compare-easel" }, frame),
    el("div", { class: "compare-captions" }, caption("Left", before, after), caption("Right", after, before)),
  );
  document.body.append(dialog);
  dialog.showModal();
  line.focus();
}

/** `left` over `right`, up to a line to pull; `size` is the picture's: { width, height }. */
function slider(left, right, { width, height }) {
  const line = el("input", { type: "range", min: "0", max: "100", step: "0.5", value: "50", class: "compare-range", "aria-label": "Where the two pictures meet" });
  const frame = el(
    "div",
    { class: "compare-frame", style: `--w:${width};--h:${height};--cut:50%` },
    right,
    el("div", { class: "compare-left" }, left),
    el("div", { class: "compare-line", "aria-hidden": "true" }),
    line,
  );
  line.addEventListener("input", () => frame.style.setProperty("--cut", `${line.value}%`));
  return { frame, line };
}

const FITS = { crop: "cover", stretch: "fill", fill: "contain", keep: "fill" };

/** A result over what it was made from, as `picture` tells of it; null if it was made from words alone. */
export function beforeAndAfter({ id, prompt, width, height, request }) {
  if (!request?.init) return null;
  const { left = 0, top = 0, right = 0, bottom = 0 } = request.outpaint ?? {};
  const [across, down] = [(side) => `${(100 * side) / width}%`, (side) => `${(100 * side) / height}%`];
  const place = `inset:${down(top)} ${across(right)} ${down(bottom)} ${across(left)};width:${across(width - left - right)};height:${down(height - top - bottom)};object-fit:${FITS[request.resize] ?? "fill"}`;
  const source = el("img", { src: url.input(id, "init"), alt: "Left: what it was made from", style: place });
  const result = el("img", { src: url.file(id), alt: `Right: ${prompt || "the result"}` });
  return slider(source, result, { width, height }).frame;
}

const TOLD = [
  ["prompt", "prompt"],
  ["negative", "negative"],
  ["model", "model"],
  ["sampler", "sampler"],
  ["scheduler", "schedule"],
  ["steps", "steps"],
  ["guidance", "guidance"],
  ["seed", "seed"],
];

/** What sets `one` apart from `other`. */
function caption(side, one, other) {
  const [mine, theirs] = [one.request ?? {}, other.request ?? {}];
  const different = TOLD.filter(([name]) => String(mine[name] ?? "") !== String(theirs[name] ?? ""));
  const facts = different.map(([name, title]) => el("div", {}, el("dt", {}, title), el("dd", {}, String(mine[name] ?? "—") || "—")));
  return el("div", { class: "compare-caption" }, el("h3", {}, side), facts.length ? el("dl", { class: "facts" }, ...facts) : el("p", { class: "quiet" }, "The same settings."));
}
