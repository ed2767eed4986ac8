// Ctrl+↑ and Ctrl+↓: the weight of what is selected or under the cursor.

import { AREAS, replace } from "./prompt-text.js";

const STEP = 0.1;
const TAG_STEP = 0.05; // of a LoRA
const [LEAST, MOST] = [0, 5];
const NUMBER = /:\s*(-?\d+(?:\.\d+)?)\s*$/;
/** Whether a word ends before the sign at `place`; one behind a backslash is a letter. */
const ends = (text, place) => /[\s,()[\]{}|<>:]/.test(text[place]) && text[place - 1] !== "\\";

const rounded = (weight) => Math.round(Math.min(MOST, Math.max(LEAST, weight)) * 100) / 100;

/**
 * What becomes of `text` when the weight of `start` to `end` changes by `direction` (1 or -1) steps:
 * { start, end, text, select: [from, to] }, the text to put there and what is selected then; null if there is nothing.
 */
export function weighed(text, start, end, direction) {
  return ofTag(text, start, end, direction) ?? ofGroup(text, start, end, direction) ?? ofWords(text, start, end, direction);
}

/** `<lora:name:0.8>`: its last number. */
function ofTag(text, start, end, direction) {
  for (const { 0: tag, index } of text.matchAll(/<lora:[^<>]{1,500}>/gi)) {
    if (start < index || end > index + tag.length) continue;
    const [, name, weight] = tag.match(/^(<lora:[^<>:]+)(?::(-?\d+(?:\.\d+)?))?/i);
    const behind = tag.slice(name.length + (weight === undefined ? 0 : weight.length + 1), -1);
    const next = Math.round((Number(weight ?? 1) + direction * TAG_STEP) * 100) / 100;
    const made = `${name}:${Math.min(4, Math.max(-4, next))}${behind}>`;
    return { start: index, end: index + tag.length, text: made, select: [index, index + made.length] };
  }
  return null;
}

/** Round brackets around the cursor, or those that are selected with what they hold. */
function ofGroup(text, start, end, direction) {
  const group = enclosing(text, start, end);
  if (!group) return null;
  const inside = text.slice(group.open + 1, group.close);
  const words = inside.replace(NUMBER, "");
  const chosen = start !== end;
  const whole = start <= group.open + 1 && end >= group.open + 1 + words.length;
  if (chosen && !whole) return null; // a part of it gets a weight of its own
  const weight = rounded(Number(inside.match(NUMBER)?.[1] ?? 1.1) + direction * STEP);
  const made = weight === 1 ? words : `(${words}:${weight})`;
  const shift = weight === 1 ? 0 : 1;
  const at = (place) => group.open + shift + Math.min(words.length, Math.max(0, place - group.open - 1));
  return { start: group.open, end: group.close + 1, text: made, select: [at(start), at(end)] };
}

/** The innermost pair around, as { open, close }. */
function enclosing(text, start, end) {
  const stack = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "(") stack.push(at);
    else if (text[at] === ")" && stack.length) {
      const open = stack.pop();
      const holdsCursor = open < start && end <= at;
      if (holdsCursor || (open === start && at + 1 === end && start !== end)) return { open, close: at };
    }
  }
  return null;
}

function ofWords(text, start, end, direction) {
  let [from, to] = [start, end];
  if (from === to) {
    while (from > 0 && !ends(text, from - 1)) from--;
    while (to < text.length && !ends(text, to)) to++;
  } else {
    while (from < to && /[\s,]/.test(text[from])) from++;
    while (to > from && /[\s,]/.test(text[to - 1])) to--;
  }
  const words = text.slice(from, to);
  if (!words || !balanced(words)) return null;
  const made = `(${words}:${rounded(1 + direction * STEP)})`;
  const at = (place) => from + 1 + Math.min(words.length, Math.max(0, place - from));
  return { start: from, end: to, text: made, select: start === end ? [at(start), at(end)] : [from + 1, from + 1 + words.length] };
}

function balanced(words) {
  let depth = 0;
  for (const sign of words.replace(/\\./g, "")) {
    depth += "([{<".includes(sign) - ")]}>".includes(sign);
    if (depth < 0) return false;
  }
  return depth === 0;
}

export function start() {
  document.addEventListener("keydown", (event) => {
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const area = event.target;
    if (!direction || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.isComposing || !area.matches?.(AREAS)) return;
    event.preventDefault();
    const change = weighed(area.value, area.selectionStart, area.selectionEnd, direction);
    if (change) replace(area, change.start, change.end, change.text, change.select);
  });
}
