// The models tab: everything in the model folders as cards, what is in memory, and what is being downloaded.

import { el, fill, icon, iconButton } from "./dom.js";
import { modelLikes, models, modelsRevision, refreshModels } from "./api.js";
import { card, GROUPS, knowOwner, openCard } from "./models-card.js";
import { downloadsBar, openHub } from "./models-hub.js";
import { memoryBar } from "./models-memory.js";
import { chooseModel, learn } from "./form.js";
import { onRoute, route } from "./routes.js";
import { toast } from "./notices.js";

const PAGE = 60;
const LOOK = 2000; // milliseconds between two looks at whether anything changed, while one looks at the tab

export function mount(element) {
  const state = { text: "", group: "", family: "" };
  let cards = [];
  let total = 0;
  let loading = 0; // the number of the newest question; older answers are dropped
  let revision = -1;
  let learnt = -1;
  let stale = true;

  const search = el("input", { type: "search", id: "models-search", placeholder: "Search names and trigger words", "aria-label": "Search names and trigger words", maxlength: "300", autocomplete: "off", oninput: () => later(() => set("text", search.value)) });
  const families = el("select", { "aria-label": "Family", onchange: () => set("family", families.value) });
  const again = iconButton("again", "Look into the folders again", lookAgain);
  const add = iconButton("download", "Download", () => openHub(bar.refresh), { text: true });
  const tabs = el("div", { class: "model-groups", role: "group", "aria-label": "Kind" });
  const grid = el("ul", { class: "model-grid", "aria-label": "Models" });
  const foot = el("div", { class: "grid-foot" });
  const problem = el("p", { class: "notice-text", role: "alert" });
  const faults = el("div", { class: "model-faults" });
  const memory = memoryBar();
  const bar = downloadsBar();
  const filters = el("div", { class: "filters", role: "search" }, el("label", { class: "search" }, icon("search"), search), families, again, add);
  add.hidden = true;
  element.replaceChildren(el("section", { class: "models", "aria-label": "Models" }, filters, tabs, memory.element, bar.element, problem, faults, grid, foot));
  new IntersectionObserver((seen) => seen.at(-1).isIntersecting && more(), { rootMargin: "800px" }).observe(foot);

  let pause = 0;
  function later(run) {
    clearTimeout(pause);
    pause = setTimeout(run, 200);
  }

  function set(name, value) {
    if (state[name] === value) return;
    state[name] = value;
    if (name === "group") state.family = "";
    reload();
  }

  async function reload() {
    stale = false;
    const page = await ask(0, Math.max(PAGE, Math.min(cards.length, 200)));
    if (!page) return;
    cards = page.items;
    // The focus stays where it was, on a card that is still there.
    const held = grid.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
    grid.replaceChildren(...cards.map(tile));
    if (held) grid.querySelector(`li[data-id="${CSS.escape(held)}"] .model-open`)?.focus({ preventScroll: true });
    finish(page);
    if (learnt !== revision) relearn(learnt !== -1);
  }

  async function more() {
    if (route() !== "models" || stale || !cards.length || cards.length >= total) return;
    const page = await ask(cards.length, PAGE);
    if (!page) return;
    const fresh = page.items.filter(({ id }) => !cards.some((known) => known.id === id));
    cards.push(...fresh);
    grid.append(...fresh.map(tile));
    finish(page);
  }

  async function ask(offset, limit) {
    const mine = ++loading;
    try {
      const query = Object.fromEntries(Object.entries(state).filter(([, value]) => value));
      const page = await models({ ...query, offset, limit });
      if (mine !== loading) return null;
      problem.textContent = "";
      return page;
    } catch (error) {
      if (mine === loading) problem.textContent = error.message;
      return null;
    }
  }

  function finish(page) {
    total = page.total;
    revision = page.revision;
    add.hidden = again.hidden = !page.owner;
    if (page.owner) bar.refresh();
    memory.owner = page.owner;
    knowOwner(page.owner);
    drawGroups(page.groups);
    families.replaceChildren(el("option", { value: "" }, "All families"), ...page.families.map(({ key, title, count }) => el("option", { value: key, selected: key === state.family }, `${title} (${count})`)));
    fill(faults, ...page.faults.map((fault) => el("p", { class: "notice-text" }, fault)));
    fill(foot, !total && el("div", { class: "empty" }, icon("box"), el("p", { class: "empty-title" }, emptyText())));
  }

  function emptyText() {
    if (state.text || state.family) return "Nothing here matches.";
    return state.group ? `No ${GROUPS[state.group].toLowerCase()} yet: put them into a model folder, and they show up here.` : "Put models into a folder and start the studio with --models-dir.";
  }

  function drawGroups(counts) {
    const every = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const entries = [["", "All", every], ...Object.entries(GROUPS).map(([key, title]) => [key, title, counts[key] ?? 0])];
    const shown = entries.filter(([key, , count]) => count || !key || key === state.group || key === "model" || key === "lora");
    const focus = tabs.contains(document.activeElement) ? document.activeElement.dataset.group : null;
    tabs.replaceChildren(
      ...shown.map(([key, title, count]) =>
        el("button", { type: "button", class: "chip", "data-group": key, "aria-pressed": String(key === state.group), onclick: () => set("group", key) }, title, el("span", { class: "chip-count" }, String(count))),
      ),
    );
    if (focus !== null) tabs.querySelector(`[data-group="${focus}"]`)?.focus();
  }

  const tile = (facts) =>
    card(facts, (id) =>
      openCard(id, { changed: reload, closed: () => grid.querySelector(`li[data-id="${CSS.escape(id)}"] .model-open`)?.focus() }),
    );

  async function lookAgain() {
    again.disabled = true;
    try {
      await refreshModels();
      await reload();
      toast(total === 1 ? "One found." : `${total} found.`);
    } catch (error) {
      problem.textContent = error.message;
    }
    again.disabled = false;
    again.focus();
  }

  /** The form's list of models and what they like follow the folders, too. */
  async function relearn(tellForm) {
    learnt = revision;
    const likes = await modelLikes().catch(() => null);
    if (!likes) return;
    learn(likes);
    if (tellForm) chooseModel(null);
  }

  async function look() {
    if (route() === "models" && !document.hidden) {
      memory.refresh();
      const now = await modelsRevision().catch(() => null);
      if (now && now.revision !== revision && !stale) await reload();
    }
    setTimeout(look, LOOK);
  }
  onRoute((tab) => {
    if (tab !== "models") return;
    memory.refresh();
    reload();
  });
  look();
}
