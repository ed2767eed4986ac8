// The stage: the picture, forming or done, what is happening to it, and the strip of this session's pictures.

import { duration, el, fill, icon, iconButton, isTyping, setText } from "./dom.js";
import { picture, url } from "./api.js";
import { live, subscribe } from "./live.js";
import { cancel, choose, forget, inFront, knowFavourite, onSession, session, stop } from "./session.js";
import { beforeAndAfter, cancelCompare, comparing, onCompare, pickedForCompare } from "./compare.js";
import { actionRow } from "./actions.js";
import { notice, onNotice, quiet } from "./notices.js";
import { inRoom } from "./routes.js";
import { onView, setView, view } from "./rooms.js";

export function mount(element) {
  const caption = el("p", { class: "caption" });
  const easel = buildEasel((facts) => describe(facts, caption));
  const status = buildStatus();
  const strip = buildStrip();
  const { row, refresh } = actionRow(() => easel.shown());
  const comparison = el("div", { class: "comparison" });
  element.replaceChildren(el("section", { class: "stage", "aria-label": "Picture" }, easel.element, comparison, status, caption, row, strip));
  let awaited = null;
  onSession(() => {
    if (session.awaited && session.awaited !== awaited) easel.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
    awaited = session.awaited;
    easel.update();
    refresh();
    compare();
  });
  onView(() => compare());

  let compared = null;
  async function compare() {
    const id = inFront();
    if (view() !== "compare" || id === compared) return;
    compared = id;
    const facts = id && (await picture(id).catch(() => null));
    if (compared !== id) return;
    fill(comparison, (facts && beforeAndAfter(facts)) ?? nothingBefore.cloneNode(true));
  }

  addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !inRoom() || view() === "canvas" || document.querySelector("dialog[open]") || isTyping(event.target)) return;
    if (event.target.closest?.("[role=slider], input, [role=listbox], [role=group]")) return;
    const at = session.pictures.indexOf(easel.shown());
    const next = session.pictures[at + step];
    if (next) choose(next);
  });
}

const nothingBefore = el("div", { class: "empty" }, icon("compare"), el("p", { class: "empty-title" }, "This picture was made from words alone"), el("p", { class: "quiet" }, "Results made from a picture stand here beside it."));

/** The large place. `shown()` is the finished picture in it, null while one forms there; `told` is given its facts. */
function buildEasel(told) {
  const img = el("img", { class: "picture", alt: "" });
  const empty = el(
    "div",
    { class: "empty" },
    icon("picture"),
    el("p", { class: "empty-title" }, "Your picture appears here"),
    el("p", { class: "quiet" }, "Describe it, then press ", el("kbd", {}, "Ctrl"), " ", el("kbd", {}, "Enter")),
  );
  const waiting = el("div", { class: "forming-ground" });
  const element = el("div", { class: "easel" }, empty);
  let wanted = null;

  function frame(width, height) {
    element.style.setProperty("--w", width);
    element.style.setProperty("--h", height);
  }

  function forming() {
    const job = live.board?.running ?? live.board?.waiting[0];
    return session.front === null && (job || session.awaited) ? (job ?? {}) : null;
  }

  function update() {
    const job = forming();
    element.toggleAttribute("data-forming", Boolean(job));
    if (job) {
      const preview = live.preview?.job === job.id ? live.preview : null;
      if (job.request?.width) frame(job.request.width, job.request.height);
      wanted = null;
      if (preview) {
        if (img.src !== preview.src) img.src = preview.src;
        img.alt = "The picture while it forms";
        fill(element, img);
      } else {
        fill(element, waiting);
      }
      return;
    }
    const id = inFront();
    if (!id) {
      wanted = null;
      told(null);
      fill(element, empty);
    } else if (id !== wanted) {
      wanted = id;
      present(id);
    }
  }

  async function present(id) {
    const next = new Image();
    next.src = url.file(id);
    const loaded = await Promise.all([picture(id), next.decode()]).catch(() => null);
    if (wanted !== id) return;
    if (!loaded) {
      // Its file has gone, or it went for good: the next one takes its place.
      forget(id);
      return;
    }
    const [facts] = loaded;
    knowFavourite(id, facts.favourite);
    told(facts);
    frame(facts.width, facts.height);
    img.src = next.src;
    img.alt = facts.prompt || "A picture without a prompt";
    fill(element, img);
  }

  return { element, update, shown: () => (forming() ? null : inFront()) };
}

function buildStatus() {
  const bar = el("div", { class: "bar-fill" });
  const progress = el("div", { class: "progress", role: "progressbar", "aria-label": "Drawing", "aria-valuemin": "0", "aria-valuemax": "100" }, bar);
  const text = el("span", { class: "status-text" });
  const told = el("span", { class: "sr-only", "aria-live": "polite" });
  const sentence = el("span", { class: "notice-text" });
  const act = el("button", { type: "button", class: "tool with-text" });
  const dismiss = iconButton("close", "Dismiss", quiet);
  const strip = el("div", { class: "notice", role: "alert" }, sentence);
  const element = el("div", { class: "status" }, progress, el("div", { class: "status-line" }, text, told), strip);

  onNotice(() => {
    setText(sentence, notice.text);
    strip.dataset.kind = notice.kind;
    if (notice.action) {
      setText(act, notice.action.label);
      act.onclick = notice.action.run;
    }
    fill(strip, sentence, notice.action && act, notice.kind && dismiss);
    if (notice.kind === "error") strip.scrollIntoView({ block: "nearest", behavior: "smooth" });
  });
  onCompare((first) => {
    element.toggleAttribute("data-comparing", Boolean(first));
  });
  onSession(update);

  function update() {
    const { running, waiting = [] } = live.board ?? {};
    const [line, share] = running ? drawing(running) : waiting.length || session.awaited ? [queued(waiting), null] : ["", null];
    const busy = Boolean(line);
    element.toggleAttribute("data-busy", busy);
    setText(text, line);
    setText(told, running ? "Drawing" : waiting.length ? "Waiting" : session.pictures.length ? "Done" : "");
    progress.toggleAttribute("data-unknown", busy && share === null);
    progress.hidden = !busy;
    if (share === null) progress.removeAttribute("aria-valuenow");
    else progress.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    progress.setAttribute("aria-valuetext", line);
    bar.style.transform = `scaleX(${share ?? 0})`;
  }
  return element;
}

/** One line about the job being drawn, and how much of it is done (0 to 1) or null. */
function drawing({ stage, step, steps, index, count, seconds_left: left }) {
  const parts = [];
  if (count > 1) parts.push(`Picture ${index + 1} of ${count}`);
  if (steps && step) parts.push(`${count > 1 ? "step" : "Step"} ${step} of ${steps}`);
  else parts.push(`${stage.charAt(0).toUpperCase()}${stage.slice(1)}…`);
  if (left !== null) parts.push(`${duration(left)} left`);
  return [parts.join(" · "), steps ? (index + step / steps) / count : null];
}

function queued(waiting) {
  if (!waiting.length) return "Handing it over…";
  const { position, seconds } = waiting[0];
  const before = position > 0 ? `${position} before you` : "you are next";
  return `Waiting: ${before}${seconds === null ? "" : ` · about ${duration(seconds)}`}`;
}

function describe(facts, caption) {
  if (!facts) {
    caption.replaceChildren();
    return;
  }
  const { request } = facts;
  const parts = [`${facts.width} × ${facts.height}`, request.sampler && `${request.sampler} ${request.scheduler}`, request.steps && `${request.steps} steps`, `seed ${facts.seed}`];
  if (facts.seconds) parts.push(duration(facts.seconds));
  const effects = facts.effects?.join(" ");
  caption.replaceChildren(
    el("span", { class: "caption-prompt", title: facts.prompt }, facts.prompt),
    el("span", { class: "caption-facts" }, parts.filter(Boolean).join(" · ")),
    ...(effects ? [el("span", { class: "caption-effects", title: effects, dir: "auto" }, effects)] : []),
  );
}

/** A picture chosen in the strip is one to look at, also while the canvas is in front. */
function pick(id) {
  choose(id);
  if (view() === "canvas") setView("result");
}

function buildStrip() {
  const list = el("ul", { class: "strip", "aria-label": "This session’s pictures" });
  const hint = el("div", { class: "compare-hint" }, el("span", {}, "Choose the picture to compare with."), el("button", { type: "button", class: "tool with-text", onclick: cancelCompare }, "Cancel"));
  const tiles = new Map();
  const element = el("div", { class: "strip-box" }, list);

  function tile(id) {
    const img = el("img", { src: url.thumb(id), alt: "", width: "72", height: "72", decoding: "async", loading: "lazy", onerror: () => forget(id) });
    const button = el("button", { type: "button", class: "thumb", "data-picture": id, onclick: () => pickedForCompare(id) || pick(id) }, img);
    const item = el("li", {}, button);
    return { item, button };
  }

  const liveImage = el("img", { alt: "" });
  const liveButton = el("button", { type: "button", class: "thumb live", "aria-label": "The picture being drawn", onclick: () => pick(null) }, liveImage);
  const liveTile = el("li", {}, liveButton);

  function waitingTile(job) {
    return el("li", { class: "waiting-tile" }, el("span", {}, String(job.position + 1)), iconButton("close", `Take waiting job ${job.position + 1} out of the queue`, () => cancel(job.id)));
  }

  let waitingNow = "";
  let waitingTiles = [];

  function update() {
    const { running, waiting = [] } = live.board ?? {};
    const described = waiting.map((job) => `${job.id}:${job.position}`).join();
    if (described !== waitingNow) {
      waitingNow = described;
      waitingTiles = waiting.slice(0, 8).map(waitingTile);
    }
    if (live.preview) liveImage.src = live.preview.src;
    liveImage.hidden = !live.preview;
    const front = session.front;
    if (front === null && running) liveButton.setAttribute("aria-current", "true");
    else liveButton.removeAttribute("aria-current");
    const shown = running && front === null ? null : inFront();
    const pictures = session.pictures.map((id, i) => {
      if (!tiles.has(id)) tiles.set(id, tile(id));
      const { item, button } = tiles.get(id);
      button.setAttribute("aria-label", `Picture ${i + 1} of this session`);
      if (id === shown) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      button.toggleAttribute("data-first", id === comparing.first);
      return item;
    });
    fill(list, ...waitingTiles, running && liveTile, ...pictures);
    fill(element, comparing.first && hint, list);
    element.toggleAttribute("data-comparing", Boolean(comparing.first));
  }
  onSession(update);
  onCompare(update);
  return element;
}

/** Beside Generate, while there is something to stop. */
export function stopButton(element) {
  const button = el("button", { type: "button", class: "stop", onclick: stop, "aria-keyshortcuts": "Escape" }, icon("stop"), "Stop");
  element.replaceChildren(button);
  subscribe(() => {
    const { running, waiting = [] } = live.board ?? {};
    button.disabled = !running && !waiting.length;
  });
}
