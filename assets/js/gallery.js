// The gallery: every picture this person has made, newest first, loaded page by page as one scrolls.

import { el, fill, icon, iconButton, isTyping } from "./dom.js";
import { ask as tell, facets, pictures, rebuild, restore, shownToMe, trash, url } from "./api.js";
import { jobsOf, live, subscribe } from "./live.js";
import { forget, gone, knowFavourite, onFavourite, toggleFavourite } from "./session.js";
import { cancelCompare, onCompare, pickedForCompare } from "./compare.js";
import { openView } from "./view.js";
import { onRoute, route } from "./routes.js";
import { toast } from "./notices.js";

const PAGE = 60;

export function mount(element) {
  const grid = el("ul", { class: "grid", "aria-label": "Pictures" });
  const foot = el("div", { class: "grid-foot" });
  const banner = el("div", { class: "banner", role: "alert" });
  const problem = el("p", { class: "notice-text", role: "alert" });
  const tiles = new Map(); // id → { item, button, star, facts }
  let order = []; // the ids in the grid
  let next = null;
  let loading = 0; // the number of the newest question; older answers are dropped
  let stale = true;

  const filters = buildFilters(() => reload());
  const hint = el("div", { class: "compare-hint" }, el("span", {}, "Choose the picture to compare with."), el("button", { type: "button", class: "tool with-text", onclick: cancelCompare }, "Cancel"));
  element.replaceChildren(el("section", { class: "gallery", "aria-label": "Gallery" }, filters.element, banner, problem, hint, grid, foot));
  hint.hidden = true;
  onCompare((first) => (hint.hidden = !first));

  const end = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && more(), { rootMargin: "1200px" });
  end.observe(foot);

  async function reload() {
    stale = false;
    const mine = ++loading;
    const page = await ask({}, mine);
    if (!page) return;
    order = [];
    grid.replaceChildren();
    append(page);
    filters.refresh();
  }

  /** What came since joins on top; what one has scrolled to stays. */
  async function renew() {
    const page = await pictures({ ...filters.query(), limit: PAGE }).catch(() => null);
    if (!page || stale) return;
    const news = page.items.filter(({ id }) => !tiles.has(id) || !order.includes(id));
    if (news.length === page.items.length) {
      reload();
      return;
    }
    order.unshift(...news.map(({ id }) => id));
    grid.prepend(...news.map((facts) => tile(facts).item));
    filters.refresh();
  }

  async function more() {
    if (!next || route() !== "gallery") return;
    const mine = ++loading;
    const before = next;
    next = null;
    const page = await ask({ before }, mine);
    if (page) append(page);
    else next = before;
  }

  async function ask(extra, mine) {
    try {
      const page = filters.shown() ? { next: null, health: "", ...(await shownToMe()) } : await pictures({ ...filters.query(), limit: PAGE, ...extra });
      if (mine !== loading) return null;
      problem.textContent = "";
      tellHealth(page.health);
      return page;
    } catch (error) {
      if (mine === loading) problem.textContent = error.message;
      return null;
    }
  }

  function append(page) {
    const fresh = page.items.filter(({ id }) => !order.includes(id));
    order.push(...fresh.map(({ id }) => id));
    grid.append(...fresh.map((facts) => tile(facts).item));
    next = page.next;
    sayEmpty();
    rove();
    // Told anew where the end is: in a tall window, or when somebody is there at once again, it never left the view.
    end.unobserve(foot);
    end.observe(foot);
  }

  function sayEmpty() {
    const empty = !order.length && !next;
    fill(foot, empty && el("div", { class: "empty" }, icon("picture"), el("p", { class: "empty-title" }, filters.emptyText())));
  }

  function tile(facts) {
    const star = iconButton("star", "Favourite", () => toggleFavourite(facts.id), { class: "tool tile-star", tabindex: "-1", "aria-pressed": String(facts.favourite) });
    const img = el("img", { src: url.thumb(facts.id), alt: facts.prompt || "A picture without a prompt", loading: "lazy", decoding: "async" });
    img.addEventListener("error", () => item.setAttribute("data-missing", ""), { once: true });
    const button = el("button", { type: "button", class: "tile", tabindex: "-1", title: facts.prompt, "data-picture": facts.id, onclick: () => pickedForCompare(facts.id) || open(facts.id) }, img);
    const item = el("li", { "data-missing": facts.missing }, button, filters.trashed() || filters.shown() ? null : star);
    knowFavourite(facts.id, facts.favourite);
    tiles.set(facts.id, { item, button, star, facts });
    return { item };
  }

  onFavourite((id, on) => {
    const known = tiles.get(id);
    if (!known) return;
    known.facts.favourite = on;
    known.star.setAttribute("aria-pressed", String(on));
  });

  function open(id) {
    openView(id, {
      trashed: filters.trashed(),
      shown: filters.shown(),
      neighbour: async (from, step) => {
        const at = order.indexOf(from) + step;
        if (at >= order.length - 4) await more();
        return order[at] ?? null;
      },
      remove,
      bringBack,
      closed: (last) => tiles.get(last)?.button.focus(),
    });
  }

  function takeOut(id) {
    order = order.filter((known) => known !== id);
    tiles.get(id)?.item.remove();
    sayEmpty();
    rove();
  }

  async function remove(id) {
    try {
      await trash(id);
      gone.add(id);
      forget(id);
      takeOut(id);
      toast("Moved to the trash.", { label: "Undo", run: () => bringBack(id) });
      filters.refresh();
    } catch (error) {
      toast(error.message);
    }
  }

  async function bringBack(id) {
    try {
      await restore(id);
      gone.delete(id);
      toast("Restored.");
      await reload();
    } catch (error) {
      toast(error.message);
    }
  }

  function tellHealth(health) {
    const sick = health && health !== "ok";
    const again = el("button", { type: "button", class: "tool with-text", onclick: () => mend(again) }, icon("again"), "Rebuild from the files");
    fill(banner, sick && el("p", {}, health.replace(/^read-only: /, "")), sick && again);
  }

  async function mend(button) {
    button.disabled = true;
    button.lastChild.textContent = "Reading the files…";
    try {
      await rebuild();
      toast("The gallery has been rebuilt from its files.");
      await reload();
    } catch (error) {
      problem.textContent = error.message;
      button.disabled = false;
      button.lastChild.textContent = "Rebuild from the files";
    }
  }

  // One stop for the Tab key; arrows walk the grid.
  function rove(to = order.find((id) => tiles.get(id).button.tabIndex === 0) ?? order[0]) {
    for (const button of grid.querySelectorAll(".tile[tabindex='0']")) button.tabIndex = -1;
    if (to) tiles.get(to).button.tabIndex = 0;
  }
  grid.addEventListener("keydown", (event) => {
    const id = order.find((known) => tiles.get(known).button === document.activeElement);
    if (!id) return;
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const at = order.indexOf(id);
    if (event.key === "Delete" && !filters.trashed() && !filters.shown()) {
      const then = order[at + 1] ?? order[at - 1];
      remove(id).then(() => then && (rove(then), tiles.get(then).button.focus()));
    } else if (event.key.toLowerCase() === "f" && !isTyping(event.target)) {
      toggleFavourite(id);
    } else if (step && order[at + step]) {
      rove(order[at + step]);
      tiles.get(order[at + step]).button.focus();
    } else return;
    event.preventDefault();
  });

  // New pictures make the first page old; it is asked for again when it is looked at.
  let known = "";
  subscribe(() => {
    const made = jobsOf(live.board).flatMap((job) => job.pictures).join();
    if (made === known) return;
    known = made;
    if (route() === "gallery" && !stale && !filters.trashed() && !filters.shown()) renew();
    else stale = true;
  });
  onRoute((tab) => tab === "gallery" && stale && reload());
}

function buildFilters(changed) {
  const state = { text: "", model: "", day: "", favourite: false, trashed: false, shown: false };
  const search = el("input", { type: "search", id: "gallery-search", placeholder: "Search in prompts", "aria-label": "Search in prompts", maxlength: "500", autocomplete: "off" });
  const model = el("select", { "aria-label": "Model", onchange: () => set("model", model.value) });
  const day = el("select", { "aria-label": "Day", onchange: () => set("day", day.value) });
  const favourite = toggle("star", "Favourites", "favourite");
  const bin = toggle("trash", "Trash", "trashed");
  const shown = toggle("people", "Shown to me", "shown");
  shown.hidden = true;
  tell("GET", "/me").then(({ signed_in }) => (shown.hidden = !signed_in), () => null);
  let pause = 0;
  search.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => set("text", search.value), 200);
  });

  function set(name, value) {
    if (state[name] === value) return;
    state[name] = value;
    changed();
  }

  function toggle(symbol, label, name) {
    const button = iconButton(symbol, label, () => {
      button.setAttribute("aria-pressed", String(!state[name]));
      set(name, !state[name]);
    }, { text: true, "aria-pressed": "false" });
    return button;
  }

  function offer(select, all, entries, chosen) {
    const options = entries.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
    select.replaceChildren(el("option", { value: "" }, all), ...options);
    if (chosen && !entries.some(([value]) => value === chosen)) select.append(el("option", { value: chosen, selected: true }, chosen));
  }

  async function refresh() {
    const told = await facets().catch(() => null);
    if (!told) return;
    offer(model, "All models", told.models.map(ofModel), state.model);
    offer(day, "All days", told.days.map(ofDay), state.day);
  }

  offer(model, "All models", [], "");
  offer(day, "All days", [], "");
  const element = el("div", { class: "filters", role: "search" }, el("label", { class: "search" }, icon("search"), search), model, day, favourite, shown, bin);
  return {
    element,
    refresh,
    trashed: () => state.trashed,
    shown: () => state.shown,
    query: () => Object.fromEntries(Object.entries(state).filter(([name, value]) => value && name !== "shown")),
    emptyText() {
      if (state.shown) return "Nothing has been shown to you yet.";
      if (state.text || state.model || state.day) return "Nothing here matches.";
      if (state.trashed) return "The trash is empty.";
      return state.favourite ? "No favourites yet." : "What you make is kept here.";
    },
  };
}

const ofModel = ([key, title, count]) => [key, `${title || key} (${count})`];
const ofDay = ([day, count]) => [day, `${day} (${count})`];
