// Building the page by hand: text always becomes text nodes, so no prompt or file name can turn into markup.

const SVG = "http://www.w3.org/2000/svg";

// Paths on a 24 × 24 grid, drawn as lines of the text's colour.
const ICONS = {
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M2 12h2M20 12h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20.5 14.2A8.5 8.5 0 0 1 9.8 3.5a8.5 8.5 0 1 0 10.7 10.7z",
  help: "M9.2 9a3 3 0 1 1 4.4 2.6c-.9.5-1.6 1.2-1.6 2.4M12 17.5v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  swap: "M7 4 3 8l4 4M3 8h15M17 12l4 4-4 4M21 16H6",
  dice: "M5 3h14a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2M8 8v.01M16 8v.01M12 12v.01M8 16v.01M16 16v.01",
  again: "M3 12a9 9 0 1 0 3-6.7L3 8M3 3v5h5",
  download: "M12 3v12M7 10l5 5 5-5M4 20h16",
  copy: "M9 9h10a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1M16 9V4a1 1 0 0 0-1-1H4a1 1 0 0 0-1 1v11a1 1 0 0 0 1 1h4",
  sliders: "M4 6h10M18 6h2M4 12h2M10 12h10M4 18h8M16 18h4M16 4v4M8 10v4M14 16v4",
  compare: "M12 3v18M8 7H4v10h4M16 7h4v10h-4",
  film: "M4 4h16v16H4zM8 4v16M16 4v16M4 8h4M4 12h4M4 16h4M16 8h4M16 12h4M16 16h4",
  expand: "M9 3H3v6M15 3h6v6M9 21H3v-6M15 21h6v-6M3 3l7 7M21 3l-7 7M3 21l7-7M21 21l-7-7",
  star: "M12 3.5l2.6 5.4 5.9.8-4.3 4.1 1 5.9L12 16.9l-5.2 2.8 1-5.9L3.5 9.7l5.9-.8z",
  trash: "M4 7h16M10 11v6M14 11v6M6 7l1 13h10l1-13M9 7V4h6v3",
  restore: "M4 7h16M6 7l1 13h10l1-13M9 7V4h6v3M12 17v-6M9.5 13.5 12 11l2.5 2.5",
  close: "M6 6l12 12M18 6 6 18",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  down: "M5 9l7 7 7-7",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M16.2 16.2 21 21",
  picture: "M4 4h16a1 1 0 0 1 1 1v14a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1M3 16l5-5 4 4 3-3 6 6M15.5 8.5v.01",
  play: "M7 4v16l13-8z",
  pause: "M8 5v14M16 5v14",
  stop: "M7 7h10v10H7z",
  image: "M4 4h10M4 4v16h16V10M4 16l5-5 4 4 3-3 4 4M17 2.5v6M14 5.5h6",
  further: "M5 20v-5a6 6 0 0 1 6-6h8M15 5l4 4-4 4M5 4v4",
  brush: "M14.5 4.5 20 10l-8.5 8.5-5.5-5.5zM6 13c-2.5 1-2.3 4.5-4 6.5 3 1.3 7.5 1 9-1.5",
  eraser: "M9 19.5 3.5 14a1.5 1.5 0 0 1 0-2L12 3.5a1.5 1.5 0 0 1 2 0L20.5 10a1.5 1.5 0 0 1 0 2L13 19.5zM8 8l8.5 8.5M9 19.5h11",
  rectangle: "M4 6h16v12H4z",
  mirror: "M12 3v18M9 7 3 17h6zM15 7l6 10h-6z",
  turnLeft: "M4 4v5h5M4.500 9A8.500 8.500 0 1 1 3.500 13",
  turnRight: "M20 4v5h-5M19.500 9A8.500 8.500 0 1 0 20.500 13",
  person: "M12 3a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5M12 8v7M6 11h12M12 15l-4 6M12 15l4 6",
  guide: "M4 20c4-1 3-7 7-8s3-5 9-8M4 4h.010M20 20h.010M4 12h.010M12 20h.010",
  line: "M5 19 19 5",
  ellipse: "M12 6c5 0 9 2.600 9 6s-4 6-9 6-9-2.600-9-6 4-6 9-6",
  lasso: "M12 4c5 0 9 2.5 9 6s-4 6-9 6-9-2.5-9-6 4-6 9-6M7 15.5c-2.5.5-2.5 3.5 0 3.5s2 2.5.5 3",
  fill: "M11 3 3.5 10.5a1.5 1.5 0 0 0 0 2l6 6a1.5 1.5 0 0 0 2 0L19 11zM4 12.5h13.5M20.5 15c1.200 2 1.600 2.600 1.600 3.600a1.600 1.600 0 0 1-3.200 0c0-1 .4-1.600 1.600-3.600",
  undo: "M8 5 3.5 9.5 8 14M4 9.5h10.5a5.5 5.5 0 0 1 0 11H9",
  redo: "M16 5l4.5 4.5L16 14M20 9.5H9.5a5.5 5.5 0 0 0 0 11H15",
  invert: "M12 3.5a8.5 8.5 0 1 0 0 17zM12 3.5a8.5 8.5 0 0 1 0 17M12 8h6.800M12 12h8.5M12 16h6.800",
  eye: "M2.5 12C5 7.5 8.3 5.5 12 5.5s7 2 9.5 6.5c-2.5 4.5-5.800 6.5-9.5 6.5S5 16.5 2.5 12M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6",
  minus: "M5 12h14",
  plus: "M12 5v14M5 12h14",
  box: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
  pin: "M9 3h6l-1 6 3 3v2H7v-2l3-3zM12 14v7",
  words: "M4 5h7v5H4zM14 5h6v5h-6zM4 14h5v5H4zM12 14h8v5h-8z",
  wand: "M4 20 15 9M13 7l4 4M18 3v4M16 5h4M7 4v3M5.500 5.500h3M19 14v3M17.500 15.500h3",
  heat: "M4 20V10M9 20V4M14 20v-7M19 20v-4",
  bookmark: "M6 4h12v16l-6-4-6 4z",
  page: "M6 3h8l5 5v13H6zM14 3v5h5",
  shield: "M12 3l7 2.5V11c0 5-3 8-7 10-4-2-7-5-7-10V5.500zM8.800 12l2.200 2.200 4.200-4.400",
  find: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M12 6.500a1.800 1.800 0 1 0 0 3.600 1.800 1.800 0 0 0 0-3.600M12 10.100v4M8.500 12h7M12 14.100l-2.500 4M12 14.100l2.500 4",
  people: "M9 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M3 19c.5-4 3-5.500 6-5.500s5.500 1.500 6 5.500M15.500 5.200a3 3 0 0 1 0 5.600M17.500 13.800c2 .7 3.200 2.300 3.500 5.200",
};

/** An element with attributes (`on…` are listeners, `true`/`false` set or leave out) and children; texts are text. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon; `label` is its name for everybody and, unless `text`, only its tooltip for the eye. */
export function iconButton(name, label, onclick, { text = false, ...attributes } = {}) {
  return el(
    "button",
    { type: "button", class: text ? "tool with-text" : "tool", title: text ? null : label, "aria-label": text ? null : label, onclick, ...attributes },
    icon(name),
    text ? el("span", {}, label) : null,
  );
}

/** Replace the children of `element`, but leave it alone while they are the very same nodes. */
export function fill(element, ...children) {
  const wanted = children.filter(Boolean);
  if (wanted.length === element.childNodes.length && wanted.every((child, i) => child === element.childNodes[i])) return;
  element.replaceChildren(...wanted);
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** "1.4 s", "12 s", "3 min 20 s" */
export function duration(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** "1.4 GB", "12 MB", "800 kB": decimal, as disks are sold */
export function size(bytes) {
  const [unit, name] = bytes >= 1e9 ? [1e9, "GB"] : bytes >= 1e6 ? [1e6, "MB"] : [1e3, "kB"];
  const count = bytes / unit;
  return `${count >= 10 || unit === 1e3 ? Math.round(count) : count.toFixed(1)} ${name}`;
}

export function remembered(key, otherwise) {
  try {
    return localStorage.getItem(`pochade.${key}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Storage may be full or forbidden; then the page simply forgets. */
export function remember(key, value) {
  try {
    localStorage.setItem(`pochade.${key}`, value);
  } catch {
    return;
  }
}

export const isTyping = (target) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox], [type=range], [type=radio])"));
