// Downloads: what is well known, what one would bring and under which licence, and how far those under way are.

import { duration, el, fill, icon, iconButton, setText, size } from "./dom.js";
import { cancelDownload, downloads, offer, resumeDownload, startDownload, wellKnown } from "./api.js";
import { licenceBadge } from "./models-card.js";
import { toast } from "./notices.js";

const OFTEN = 700; // milliseconds between two looks at downloads under way
const STATES = { waiting: "waits its turn", paused: "paused", failed: "stopped", done: "arrived" };

export function downloadsBar() {
  const element = el("ul", { class: "downloads", "aria-label": "Downloads" });
  const rows = new Map(); // id → row
  const gone = new Set(); // ids of finished ones that were put away
  let again = 0;
  element.hidden = true;

  async function refresh() {
    clearTimeout(again);
    const found = await downloads().catch(() => null);
    if (!found) return;
    const shown = found.filter(({ id, state }) => !(state === "done" && gone.has(id)));
    for (const id of rows.keys()) if (!shown.some((one) => one.id === id)) rows.delete(id);
    for (const one of shown) {
      if (!rows.has(one.id)) rows.set(one.id, row(one.id));
      rows.get(one.id).show(one);
    }
    fill(element, ...shown.map(({ id }) => rows.get(id).element));
    element.hidden = !shown.length;
    if (shown.some(({ state }) => state === "running" || state === "waiting")) again = setTimeout(refresh, OFTEN);
  }

  function row(id) {
    const name = el("span", { class: "download-name", dir: "auto" });
    const text = el("span", { class: "quiet" });
    const part = el("span", { class: "memory-used" });
    const track = el("div", { class: "memory-track", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, part);
    const go = iconButton("play", "Go on", () => act(resumeDownload), { text: true });
    const stop = iconButton("close", "Cancel and delete what has arrived", () => act(cancelDownload));
    const hide = iconButton("close", "Put away", () => (gone.add(id), refresh()));
    const act = (run) => run(id).then(refresh, (error) => toast(error.message));
    return {
      element: el("li", {}, el("div", { class: "download-line" }, name, text, go, stop, hide), track),
      show({ state, done, speed, seconds, reason, offer: about }) {
        const share = about.bytes ? Math.min(100, (100 * done) / about.bytes) : 0;
        setText(name, about.file ? `${about.repo}/${about.file}` : about.repo);
        const pace = state === "running" && speed ? `, ${size(speed)}/s${seconds === null ? "" : `, ${duration(seconds)} left`}` : "";
        setText(text, `${size(done)} of ${size(about.bytes)}${pace}${STATES[state] ? ` · ${STATES[state]}` : ""}${reason ? `: ${reason}` : ""}`);
        part.style.width = `${share}%`;
        track.setAttribute("aria-label", `Download of ${about.repo}`);
        track.setAttribute("aria-valuenow", String(Math.round(share)));
        go.hidden = state !== "paused" && state !== "failed";
        stop.hidden = state === "done";
        hide.hidden = state !== "done";
      },
    };
  }

  return { element, refresh };
}

export function openHub(started) {
  const field = el("input", { type: "text", id: "hub-name", placeholder: "org/name, or the address of a model", autocomplete: "off", spellcheck: "false", maxlength: "300", autofocus: true });
  const problem = el("p", { class: "notice-text", role: "alert" });
  const told = el("div", { class: "hub-offer", role: "status" });
  const list = el("ul", { class: "hub-known", "aria-label": "Well-known models" });
  const ask = el("button", { type: "submit", class: "tool with-text" }, "Look at it");
  const form = el("form", { class: "hub-form", onsubmit: (event) => (event.preventDefault(), look(field.value)) }, field, ask);
  let asked = 0;
  const dialog = el(
    "dialog",
    { class: "sheet hub", "aria-labelledby": "hub-title", onclose: () => dialog.remove() },
    el("div", { class: "sheet-head" }, el("h2", { id: "hub-title" }, "Download a model"), iconButton("close", "Close", () => dialog.close())),
    el("label", { for: "hub-name", class: "quiet" }, "From the Hugging Face hub"),
    form,
    problem,
    told,
    list,
  );
  field.addEventListener("input", () => narrow(field.value));

  let known = [];
  function narrow(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = known.filter((model) => words.every((word) => `${model.repo} ${model.family_title} ${model.about}`.toLowerCase().includes(word)));
    list.replaceChildren(...fits.map(row));
  }

  function row(model) {
    const facts = [model.family_title, model.gb && `${model.gb} GB`, model.gated && "asks for an account"].filter(Boolean).join(" · ");
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "hub-model", onclick: () => ((field.value = model.repo), look(model.repo)) },
        el("span", { class: "hub-line" }, el("span", { class: "model-title" }, model.repo), licenceBadge(model), model.there ? el("span", { class: "badge strong" }, "Is here") : null),
        el("span", { class: "quiet" }, facts),
        el("span", {}, model.about),
      ),
    );
  }

  async function look(text) {
    const mine = ++asked;
    problem.textContent = "";
    fill(told, el("p", { class: "quiet" }, "Asking the hub…"));
    told.scrollIntoView({ block: "nearest" });
    try {
      const found = await offer(text);
      if (mine === asked) present(text, found);
    } catch (error) {
      if (mine !== asked) return;
      problem.textContent = error.message;
      fill(told);
    }
  }

  function present(text, found) {
    const use = { yes: "Commercial use is allowed.", no: "Not for commercial use.", conditions: "Commercial use has conditions: read the licence." }[found.commercial] ?? "What it allows stands on its page.";
    const go = el("button", { type: "button", class: "tool with-text primary", disabled: Boolean(found.locked), onclick: () => start(text, found, go) }, icon("download"), `Download ${size(found.bytes)}`);
    fill(
      told,
      el(
        "dl",
        { class: "facts" },
        ...[
          ["Model", found.file ? `${found.repo}/${found.file}` : found.repo],
          ["Size", `${size(found.bytes)} in ${found.files === 1 ? "one file" : `${found.files} files`}`],
          ["Licence", `${found.licence || "not stated"}. ${use}`],
        ].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
      ),
      found.locked && el("p", { class: "model-refused" }, found.locked),
      el("div", { class: "model-actions" }, go, el("a", { class: "tool with-text", href: found.page, target: "_blank", rel: "noreferrer" }, "Its page")),
    );
    if (!found.locked) go.focus({ preventScroll: true });
  }

  async function start(text, found, button) {
    button.disabled = true;
    try {
      await startDownload(text, found.revision);
      dialog.close();
      toast("The download goes on by itself, even when this page is closed.");
      started();
    } catch (error) {
      problem.textContent = error.message;
      button.disabled = false;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  wellKnown().then(
    (models) => ((known = models), narrow(field.value)),
    (error) => (problem.textContent = error.message),
  );
}
