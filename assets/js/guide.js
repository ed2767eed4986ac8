// The Guide room's surface: what is drawn, shown or posed, and the list of guides beside it that every room has.

import { el, fill, iconButton, setText } from "./dom.js";
import { abilities, onShown, typed } from "./form.js";
import { toast } from "./notices.js";
import { go, onRoute, route } from "./routes.js";
import { setView } from "./rooms.js";
import { inFront, onSession } from "./session.js";
import { url } from "./api.js";
import { details } from "./guide-unit.js";
import { addGuide, canvasId, canvasOfUnit, change, choose, chosenUnit, guides, guidesInWords, MOST, onBuild, onGuides, removeGuide, SOURCES, touched, unitAt } from "./guide-units.js";

const side = (name, otherwise) => Math.min(4096, Math.max(64, Math.round((Number(typed(name)) || otherwise) / 8) * 8));
/** Width and height of the picture that follows, in pixels. */
export const wanted = () => [side("width", 512), side("height", 512)];

let toSurface = () => {}; // to the guide in front, from whichever room

/** Gradio: where guides are drawn. `limits`: of pictures; `figure`: what a person is made of. */
export function surface(element, { limits, figure }) {
  const built = new Map(); // id of a canvas → its place on the page
  const poses = new Map(); // place → { element, show }
  const ground = el("div", { class: "guide-ground" });
  const tabs = el("div", { class: "guide-tabs", role: "group", "aria-label": "Guides" });
  const ways = Object.entries({ draw: "Draw", picture: "Picture", pose: "Pose" }).map(([source, title]) => [source, el("button", { type: "button", class: "chip", onclick: () => change(chosenUnit() ?? addGuide(), { source }) }, title)]);
  const sources = el("div", { class: "guide-sources", role: "group", "aria-label": "What is followed" }, ...ways.map(([, button]) => button));
  const extras = el("div", { class: "guide-extras" });
  const nothing = el("p", { class: "quiet guide-nothing", hidden: true }, "Nothing is followed. Draw, choose a picture or pose somebody.");
  ground.append(nothing);
  element.replaceChildren(el("section", { class: "guide", "aria-label": "Guides" }, el("div", { class: "guide-head" }, tabs, sources, extras), ground));

  onBuild((unit) => {
    const id = canvasId(unit);
    if (built.has(id)) return;
    const holder = el("div", { class: "guide-canvas", hidden: true });
    built.set(id, holder);
    ground.append(holder);
    const { place, source } = unit;
    import("./canvas.js").then(async (module) => {
      module.mount(holder, { id, mode: source === "draw" ? "draw" : "sketch", limits, page: wanted, title: source === "picture" ? "A picture to follow" : undefined });
      const canvas = await module.find(id);
      canvas.onChange(() => unitAt(place)?.source === source && touched(place));
    });
  }, limits.total);

  async function posed(unit) {
    const { mount } = await import("./pose.js");
    if (poses.has(unit.place)) return;
    const holder = el("div", { class: "guide-canvas" });
    const changed = (pose) => unitAt(unit.place) && change(unitAt(unit.place), { pose });
    const editor = mount(holder, { id: `pose${unit.place}`, figure, page: wanted, changed });
    poses.set(unit.place, { holder, editor });
    ground.append(holder);
    update();
  }

  function showPose(unit, editor) {
    if (unit.anew?.includes("pose")) {
      unit.anew = unit.anew.filter((other) => other !== "pose"); // what an earlier guide left in its place
      editor.untrace();
    }
    editor.show(unit.pose);
  }

  const add = iconButton("plus", "Another guide", () => addGuide());
  const clean = iconButton("wand", "Clean up a photographed sketch", () => cleanUp());
  const result = iconButton("image", "Use the result", () => useResult());

  async function useResult() {
    const unit = chosenUnit();
    await front.load(url.file(inFront()));
    touched(unit.place);
  }

  async function cleanUp() {
    const unit = chosenUnit();
    clean.disabled = true;
    const { cleaned } = await import("./guide-sketch.js");
    await cleaned(front);
    clean.disabled = false;
    touched(unit.place);
  }

  let shownTabs = "";
  let front = null; // the canvas that is shown
  function update() {
    const unit = chosenUnit();
    const described = JSON.stringify([guides.chosen, guides.units.map(({ place, source, on }) => [place, source, on])]);
    if (described !== shownTabs) {
      shownTabs = described;
      drawTabs(unit);
    }
    if (document.documentElement.dataset.tab !== "guide") return;
    front = null;
    nothing.hidden = Boolean(unit);
    if (unit && unit.source !== "pose") canvasOfUnit(unit).then((canvas) => chosenUnit() === unit && ((front = canvas), refreshExtras()));
    else if (unit && poses.has(unit.place)) showPose(unit, poses.get(unit.place).editor);
    else if (unit) posed(unit);
    for (const [id, holder] of built) holder.hidden = !unit || id !== canvasId(unit);
    for (const [place, { holder }] of poses) holder.hidden = unit?.source !== "pose" || place !== unit.place;
    refreshExtras();
  }

  function drawTabs(unit) {
    const chips = guides.units.map(({ place, source, on }) =>
      el("button", { type: "button", class: "chip guide-tab", "aria-pressed": String(place === guides.chosen), "aria-label": `${place} ${SOURCES[source]}${on ? "" : ", off"}`, "data-off": !on, onclick: () => choose(place) }, `${place}`, el("span", {}, ` ${SOURCES[source]}${on ? "" : ", off"}`)),
    );
    const focused = [...tabs.children].indexOf(document.activeElement);
    fill(tabs, ...chips, guides.units.length < MOST && add);
    if (focused >= 0) (tabs.children[focused] ?? tabs.lastChild).focus();
    for (const [source, button] of ways) button.setAttribute("aria-pressed", String(unit?.source === source));
  }

  function refreshExtras() {
    const unit = chosenUnit();
    fill(extras, unit && unit.source !== "pose" && inFront() && result, unit && front?.sheet?.blob && clean);
  }

  let coming = false;
  toSurface = () => {
    coming = true;
    setView("canvas", "guide");
    if (route() === "guide") arrive();
    else go("guide");
  };

  function arrive() {
    if (!coming) return;
    coming = false;
    element.firstChild.scrollIntoView({ block: "nearest" });
    tabs.querySelector("[aria-pressed=true]").focus({ preventScroll: true });
  }

  onGuides(update);
  onSession(refreshExtras);
  onRoute((tab) => {
    if (tab !== "guide") return;
    if (!guides.units.length) addGuide();
    else if (!chosenUnit()) choose(guides.units[0].place);
    update();
    queueMicrotask(arrive); // the rooms hear of it after this
  });
}

/** Gradio: the list of guides, in every room. */
export function panel(element) {
  const list = el("div", { class: "guides" });
  const hint = el("p", { class: "quiet guides-hint" }, "The picture follows a drawing, another picture or a pose.");
  const add = el("div", { class: "guides-add" }, ...Object.entries(SOURCES).map(([source, title]) => iconButton("plus", title, () => start(source), { text: true, title: `Follow a ${title.toLowerCase()}` })));
  element.replaceChildren(el("div", { class: "guide-panel" }, list, hint, add));
  const rows = new Map(); // place → { element, update }

  function start(source) {
    addGuide(source);
    toSurface();
  }

  function removed(place) {
    toast(`Guide ${place} is gone.`, { label: "Undo", run: removeGuide(place) });
    const next = rows.get(guides.chosen ?? guides.units[0]?.place);
    (next?.element.querySelector(".guide-name") ?? add.firstChild).focus();
  }

  function row(place) {
    const switched = el("input", { type: "checkbox", class: "guide-switch", role: "switch", "aria-label": `Follow guide ${place}`, onchange: () => change(unitAt(place), { on: switched.checked }) });
    const name = el("button", { type: "button", class: "guide-name", onclick: () => choose(guides.chosen === place && route() !== "guide" ? null : place) });
    const remove = iconButton("trash", `Remove guide ${place}`, () => removed(place));
    const open = el("a", { class: "tool", href: "#guide", onclick: () => (choose(place), toSurface()) }, "Edit");
    const more = details(place, wanted);
    const element = el("div", { class: "guide-row" }, el("div", { class: "guide-line" }, switched, name, open, remove), more.element);
    return {
      element,
      update() {
        const unit = unitAt(place);
        const chosen = place === guides.chosen;
        switched.checked = unit.on;
        setText(name, `${place} · ${SOURCES[unit.source]}`);
        name.setAttribute("aria-expanded", String(chosen));
        element.toggleAttribute("data-off", !unit.on);
        more.element.hidden = !chosen;
        if (chosen) more.update(unit);
      },
    };
  }

  function update() {
    for (const place of rows.keys()) if (!unitAt(place)) rows.delete(place);
    for (const { place } of guides.units) if (!rows.has(place)) rows.set(place, row(place));
    fill(list, ...guides.units.map(({ place }) => rows.get(place).element));
    for (const { place } of guides.units) rows.get(place).update();
    hint.hidden = guides.units.length > 0;
    add.hidden = guides.units.length >= MOST;
    const summary = document.querySelector("#fold-guides .fold-summary");
    if (summary) setText(summary, guidesInWords());
    document.documentElement.dataset.guided = abilities()?.controlnet === false ? "unable" : "able";
  }

  onGuides(update);
  onShown(update);
}
