// Words, wildcards, LoRAs and embeddings offered while one types a prompt.

import { el } from "./dom.js";
import { words } from "./api.js";
import { AREAS, isOurs, replace } from "./prompt-text.js";
import { indexed, search } from "./prefix.js";

const SHOWN = 8;
const LONGEST = 60; // letters of what is completed
/** Unlike pasting and undoing. */
const TYPING = ["insertText", "insertCompositionText", "deleteContentBackward"];
const NAMES = { word: "", wildcard: "wildcard", lora: "LoRA", embedding: "embedding" };

let known = null; // a promise of the three indexes: { words, wildcards, loras }
let open = null; // { area, from, to, options, active } while something is offered
let turn = 0; // counts what was typed and sent: an offer for what came before is late
const list = el("ul", { class: "complete", role: "listbox", id: "complete", "aria-label": "Completions" });

/** All there is to complete; asked for once, and again after files have changed. */
function load() {
  known ??= words().then(arranged, () => null);
  return known;
}

function arranged({ facets, tags, wildcards, loras, embeddings }) {
  const own = (kind, names, write) => names.map((text) => ({ text, kind, write: write(text) }));
  const wild = own("wildcard", wildcards, (name) => `__${name}__`);
  const tuned = own("lora", loras, (name) => `<lora:${name}:1>`);
  const vocabulary = [...new Set(Object.values(facets).flat())];
  const listed = tags.map(([text]) => ({ text, kind: "word", write: text.replace(/[()]/g, "\\$&") }));
  return {
    words: indexed([...own("embedding", embeddings, (name) => name), ...own("word", vocabulary, (word) => word), ...tuned, ...wild, ...listed]),
    wildcards: indexed(wild),
    loras: indexed(tuned),
  };
}

export function refresh() {
  known = null;
}

/** What of `text` before `at` may be completed: [index, where it begins, typed], the longest first. */
export function openings(text, at) {
  const before = text.slice(Math.max(0, at - LONGEST), at);
  const tag = before.match(/<(?:lora:|lor|lo|l)?([^<>:]*)$/i);
  if (tag) return [["loras", at - tag[0].length, tag[1]]];
  const wildcard = before.match(/(?<![\w])__([\w\-/]*)$/);
  if (wildcard) return [["wildcards", at - wildcard[0].length, wildcard[1]]];
  const phrase = before.match(/[^,\n()[\]{}|<>:]*$/)[0].trimStart();
  const found = [];
  for (let from = 0; from < phrase.length; ) {
    const typed = phrase.slice(from);
    if (typed.trim().length >= 2) found.push(["words", at - typed.length, typed]);
    const space = phrase.indexOf(" ", from);
    if (space < 0) break;
    from = space + 1;
  }
  return found;
}

async function offer(area) {
  const { value, selectionStart: at, selectionEnd: end } = area;
  const mine = ++turn;
  const here = () => mine === turn && document.activeElement === area;
  const indexes = at === end && here() ? await load() : null;
  if (!indexes || !here() || area.value !== value || area.selectionStart !== at || /\w/.test(value[at] ?? "")) return close();
  for (const [index, from, typed] of openings(value, at)) {
    const options = search(indexes[index], typed, SHOWN).found.filter(({ write }) => !value.slice(0, at).endsWith(write));
    if (options.length) return show(area, from, at, options);
  }
  return close();
}

function show(area, from, to, options) {
  open = { area, from, to, options, active: -1 };
  list.replaceChildren(
    ...options.map(({ text, kind }, i) =>
      el("li", { role: "option", id: `complete-${i}`, "aria-selected": "false", onpointerdown: (event) => (event.preventDefault(), take(i)) }, el("span", { dir: "auto" }, text), el("span", { class: "quiet" }, NAMES[kind])),
    ),
  );
  if (!list.isConnected) document.body.append(list);
  const box = area.getBoundingClientRect();
  Object.assign(list.style, { left: `${box.left}px`, width: `${box.width}px`, top: `${box.bottom + 4}px`, bottom: "auto" });
  list.hidden = false;
  if (box.bottom + list.offsetHeight > innerHeight && box.top > list.offsetHeight) Object.assign(list.style, { top: "auto", bottom: `${innerHeight - box.top + 4}px` });
  for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "true", "aria-controls": "complete", "aria-autocomplete": "list" })) area.setAttribute(name, value);
  area.removeAttribute("aria-activedescendant");
}

function close() {
  if (!open) return;
  for (const name of ["role", "aria-expanded", "aria-controls", "aria-autocomplete", "aria-activedescendant"]) open.area.removeAttribute(name);
  open = null;
  list.hidden = true;
}

/** Close it, and let no offer that is on its way open it again. */
function dismiss() {
  turn += 1;
  close();
}

function walk(step) {
  const { area, options } = open;
  open.active = open.active < 0 && step < 0 ? options.length - 1 : (open.active + step + options.length) % options.length;
  [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === open.active)));
  area.setAttribute("aria-activedescendant", `complete-${open.active}`);
}

function take(number) {
  const { area, from, to, options } = open;
  close();
  replace(area, from, to, options[number].write);
}

export function start() {
  list.hidden = true;
  document.addEventListener("focusin", ({ target }) => target.matches?.(AREAS) && load());
  document.addEventListener("focusout", close);
  document.addEventListener("input", (event) => {
    if (!event.target.matches?.(AREAS)) return;
    if (TYPING.includes(event.inputType) && !isOurs()) offer(event.target);
    else close();
  });
  document.addEventListener("selectionchange", () => open && (open.area.selectionStart !== open.to || open.area.selectionEnd !== open.to) && close());
  addEventListener("scroll", close, { capture: true, passive: true });
  addEventListener("resize", close);
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) dismiss(); // it is written: nothing lies over what comes
      if (!open || event.target !== open.area || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) walk(step);
      else if (["Enter", "Tab"].includes(event.key) && open.active >= 0 && !event.shiftKey) take(open.active);
      else if (event.key === "Escape") close();
      else return;
      event.preventDefault();
      event.stopImmediatePropagation(); // not Stop, not a new line
    },
    true,
  );
}
