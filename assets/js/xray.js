// Which words work? The same seed without each phrase in turn: a line whose colours say how far the picture moves.

import { el, iconButton } from "./dom.js";
import { cancelJob, distances, job, trash, url, xray } from "./api.js";
import { values } from "./form.js";
import { subscribe, unsubscribe } from "./live.js";
import { gone, setAside } from "./session.js";
import { parts } from "./prompt-text.js";
import { complain } from "./notices.js";

const ASKED = ["prompt", "negative", "model", "styles", "sampler", "scheduler", "guidance", "clip_skip", "width", "height", "steps", "seed", "vae"];

const ENDED = ["done", "failed", "cancelled"];

export async function openXray() {
  const now = values();
  if (!parts(now.prompt ?? "").length) return complain(new Error("There is nothing to leave out yet; write a prompt of several words."));
  const given = ASKED.map((name) => [name, now[name]]).filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "-1");
  try {
    const started = await xray(Object.fromEntries(given));
    setAside([started.base, ...started.phrases.map(({ job }) => job)]);
    show(started);
  } catch (refused) {
    complain(refused);
  }
}

function show({ prompt, base, phrases }) {
  const jobs = [base, ...phrases.map(({ job }) => job)];
  const made = new Map(); // job → picture
  const ended = new Set();
  let asking = false;
  let finished = false;
  const line = el("p", { class: "xray-line", dir: "auto" }, ...pieces(prompt, phrases));
  const told = el("p", { class: "quiet", role: "status" });
  const whole = tile("The whole prompt");
  const tiles = phrases.map(({ text }) => tile(text));
  const stop = el("button", { type: "button", class: "tool with-text", onclick: () => dialog.close() }, "Stop");
  const dialog = el(
    "dialog",
    { class: "sheet broad xray", "aria-labelledby": "xray-title", onclose: leave },
    el("div", { class: "sheet-head" }, el("h2", { id: "xray-title" }, "Which words work"), iconButton("close", "Close", () => dialog.close())),
    line,
    told,
    el("ul", { class: "xray-tiles", "aria-label": "Without each phrase" }, whole, ...tiles),
    el("div", { class: "sheet-foot" }, stop),
  );

  /** The board lists the last few jobs of each kind; those it does not mention are asked for. */
  function look({ board }) {
    const { running, waiting = [], recent = [] } = board ?? {};
    recent.forEach(heard);
    const listed = [running, ...waiting, ...recent].map((job) => job?.id);
    const lost = board ? jobs.filter((job) => !ended.has(job) && !listed.includes(job)) : [];
    if (lost.length && !asking) ask(lost);
    tell();
  }

  async function ask(lost) {
    asking = true;
    await Promise.all(lost.map((id) => job(id).then((told) => ENDED.includes(told.state) && heard(told)))).catch(() => {});
    asking = false;
    tell();
  }

  function heard({ id, pictures }) {
    if (!jobs.includes(id) || ended.has(id)) return;
    ended.add(id);
    if (pictures[0]) arrive(id, pictures[0]);
  }

  function tell() {
    if (ended.size < jobs.length) told.textContent = `Picture ${ended.size + 1} of ${jobs.length}…`;
    else if (dialog.isConnected && !finished) finish();
  }

  function arrive(job, picture) {
    made.set(job, picture);
    const place = job === base ? whole : tiles[phrases.findIndex((phrase) => phrase.job === job)];
    place.querySelector(".xray-empty")?.replaceWith(el("img", { src: url.thumb(picture), alt: "", width: "128", height: "128" }));
  }

  async function finish() {
    finished = true;
    unsubscribe(look);
    stop.textContent = "Close";
    const measured = phrases.filter(({ job }) => made.has(job));
    try {
      if (!made.has(base) || !measured.length) throw new Error("Not enough pictures were made to compare.");
      const { distances: found } = await distances(made.get(base), measured.map(({ job }) => made.get(job)));
      const most = Math.max(...found, 0.001);
      measured.forEach((phrase, i) => heat(phrases.indexOf(phrase), found[i] / most, found[i]));
      told.textContent = "The warmer, the further the picture moves without the phrase. These pictures lie in the trash.";
    } catch (refused) {
      told.textContent = refused.message;
    }
    tidy();
  }

  function heat(number, share, distance) {
    const percent = Math.round(share * 100);
    for (const [place, words] of [[line.querySelector(`[data-phrase="${number}"]`), null], [tiles[number], tiles[number].querySelector(".xray-share")]]) {
      place.style.setProperty("--heat", `${percent}%`);
      place.title = `The picture moves by ${(distance * 100).toFixed(1)} % of all colour`;
      if (words) words.textContent = `${percent} %`;
    }
  }

  function tidy() {
    for (const picture of made.values()) {
      gone.add(picture);
      trash(picture).catch(() => {});
    }
    made.clear();
  }

  function leave() {
    unsubscribe(look);
    dialog.remove();
    for (const job of jobs) if (!ended.has(job)) cancelJob(job).catch(() => {});
    tidy();
  }

  document.body.append(dialog);
  dialog.showModal();
  subscribe(look);
}

function tile(text) {
  return el("li", {}, el("span", { class: "xray-empty" }), el("span", { class: "xray-words", dir: "auto" }, text), el("span", { class: "xray-share quiet" }));
}

/** The prompt with its phrases marked. */
function* pieces(prompt, phrases) {
  let at = 0;
  for (const [number, { start, end }] of phrases.entries()) {
    yield prompt.slice(at, start);
    yield el("mark", { "data-phrase": number }, prompt.slice(start, end));
    at = end;
  }
  yield prompt.slice(at);
}
