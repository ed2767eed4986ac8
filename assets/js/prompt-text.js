// Changing what stands in a prompt as the artist would: every change can be undone with Ctrl+Z.

/** The text areas of a prompt. */
export const AREAS = "#prompt textarea, #negative textarea";

export const areaOf = (name) => document.querySelector(`#${name} textarea`);

let writing = false;

/** Whether the input event that just arrived is a change of ours rather than somebody's typing. */
export const isOurs = () => writing;

/** Put `text` in the place of `start` to `end` of a text area, then select `select` = [from, to]. */
export function replace(area, start, end, text, select = [start + text.length, start + text.length]) {
  area.focus({ preventScroll: true });
  area.setSelectionRange(start, end);
  writing = true;
  // The only way that leaves the browser's own undo intact; it is silent where a field is hidden.
  const typed = text ? document.execCommand("insertText", false, text) : start === end || document.execCommand("delete");
  if (!typed || area.value.slice(start, start + text.length) !== text) {
    area.setRangeText(text, start, end);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
  writing = false;
  area.setSelectionRange(...select);
}

/** Put `text` in the place of all that stands there. */
export const rewrite = (area, text) => replace(area, 0, area.value.length, text);

/** The parts between commas and line breaks: { start, end, text }, trimmed. */
export function parts(text) {
  const found = [];
  for (const { 0: part, index } of text.matchAll(/[^,\n]+/g)) {
    const words = part.trim();
    if (words) found.push({ start: index + part.indexOf(words), end: index + part.indexOf(words) + words.length, text: words });
  }
  return found;
}

const same = (one, other) => one.toLowerCase() === other.toLowerCase();
const partOf = (text, phrase) => parts(text).find((part) => same(part.text, phrase));

export const holds = (text, phrase) => Boolean(partOf(text, phrase));

/** Add a phrase to a prompt, or take it out if it is there as a part of its own. `first`: at the beginning. */
export function toggle(area, phrase, { first = false } = {}) {
  const { value } = area;
  const there = partOf(value, phrase);
  if (there) {
    // With it goes the comma before it, or, at the beginning, the one behind.
    const before = value.slice(0, there.start).match(/,?\s*$/)[0].length;
    const after = before && there.start > before ? 0 : value.slice(there.end).match(/^\s*,?\s*/)[0].length;
    replace(area, there.start - before, there.end + after, "");
  } else if (first && value.trim()) {
    replace(area, 0, 0, `${phrase}, `);
  } else {
    const kept = value.replace(/[\s,]+$/, "");
    replace(area, kept.length, value.length, kept ? `, ${phrase}` : phrase);
  }
}
