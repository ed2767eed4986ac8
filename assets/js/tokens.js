// Below a prompt: how much of it the chosen model reads.

import { el, fill, setText } from "./dom.js";
import { tokens } from "./api.js";
import { onShown } from "./form.js";

const PAUSE = 300; // milliseconds without a key before one counts
const meters = new Map(); // "prompt" and "negative" → what shows the count
const NOTHING = { tokens: 0, chunks: [], limit: null, exact: true };
let pause = 0;
let asked = "";
let newest = 0; // the number of the last question; older answers are dropped

export function mount(element, name) {
  const count = el("span", { class: "tokens" });
  const cut = el("p", { class: "tokens-cut", role: "status" });
  const place = el("div", { class: "tokens-place" }, count);
  element.replaceChildren(place);
  meters.set(name, (told) => {
    setText(count, told.error ? "" : sentence(told));
    count.title = told.error ? "" : explained(told);
    fill(place, count, told.error && el("p", { class: "tokens-cut" }, told.error), told.ignored && cut);
    if (told.ignored) cut.replaceChildren("Not read any more: ", el("s", { dir: "auto" }, told.ignored));
  });
  if (meters.size === 1) onShown(later);
}

const several = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

function sentence({ tokens: number, chunks, limit, exact }) {
  if (!number) return "";
  const about = exact ? "" : "about ";
  if (limit !== null && number > limit) return `${about}${several(number, "token")}, ${limit} are read`;
  return about + several(number, "token") + (chunks.length > 1 ? ` in ${chunks.length} parts` : "");
}

function explained({ chunks, limit, exact }) {
  const way = limit === null ? `This model reads 75 tokens at a time, as many times as need be; nothing is cut.${chunks.length > 1 ? ` (${chunks.join(" + ")})` : ""}` : `This model reads ${limit} tokens.`;
  return exact ? way : `${way} Its tokenizer is not here, so words are counted.`;
}

function later({ prompt = "", negative = "", model, styles, steps, seed }) {
  const query = { prompt: prompt ?? "", negative: negative ?? "", model: model ?? "", styles: styles ?? [], steps: steps ?? 20 };
  if (/^\d{1,15}$/.test(seed ?? "")) query.seed = Number(seed);
  const question = JSON.stringify(query);
  if (question === asked) return;
  asked = question;
  clearTimeout(pause);
  pause = setTimeout(ask, PAUSE, query);
}

async function ask(query) {
  const mine = ++newest;
  const told = await tokens(query).catch((error) => error);
  if (mine !== newest) return;
  // What is wrong, with whichever of the two, is said below the prompt.
  const wrong = (name) => ({ ...NOTHING, error: name === "prompt" ? told.message : "" });
  for (const [name, show] of meters) show(told instanceof Error ? wrong(name) : told[name]);
}
