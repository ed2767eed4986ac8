// The canvas's keys: one table for what they do and for the page's help. Small on purpose: the help needs it before any
// canvas has been opened.

/** [keys, what they do], as the page's own table of shortcuts. */
export const SHORTCUTS = [
  [["B"], "Brush"],
  [["E"], "Eraser"],
  [["R"], "Rectangle"],
  [["L"], "Lasso"],
  [["F"], "Fill"],
  [["U"], "Straight line, on a drawing"],
  [["O"], "Ellipse, on a drawing"],
  [["[", "]"], "Smaller and larger brush"],
  [["{", "}"], "Softer and harder brush"],
  [["Shift"], "With a click: a straight line from the last point"],
  [["Alt"], "Held: take away; on a sketch: pick up a colour"],
  [["Ctrl", "Z"], "Undo"],
  [["Ctrl", "Shift", "Z"], "Redo"],
  [["I"], "Invert the mask"],
  [["V"], "Show or hide what is painted"],
  [["Del"], "Clear"],
  [["+", "−"], "Zoom in and out; the wheel does too"],
  [["0", "1"], "Whole picture; one to one"],
  [["Space"], "Held: move the picture by dragging"],
];

/** The action of a key event, by name, or null. */
export function actionOf(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.altKey) return null;
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return event.shiftKey ? "redo" : "undo";
    return key === "y" && !event.shiftKey ? "redo" : null;
  }
  return ACTIONS[key] ?? null;
}

const ACTIONS = {
  b: "brush",
  e: "eraser",
  r: "rectangle",
  l: "lasso",
  f: "fill",
  u: "line",
  o: "ellipse",
  "[": "smaller",
  "]": "larger",
  "{": "softer",
  "}": "harder",
  i: "invert",
  v: "toggle",
  Delete: "clear",
  "+": "zoomIn",
  "=": "zoomIn",
  "-": "zoomOut",
  "−": "zoomOut",
  0: "fit",
  1: "oneToOne",
  ArrowLeft: "panLeft",
  ArrowRight: "panRight",
  ArrowUp: "panUp",
  ArrowDown: "panDown",
};
