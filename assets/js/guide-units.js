// The guides of a picture: up to four, each a drawing, a picture or a pose, and how it is followed. The browser keeps
// them; Generate takes those that are on.

import { remember, remembered } from "./dom.js";

export const MOST = 4;
export const SOURCES = { draw: "Drawing", picture: "Picture", pose: "Pose" };
/** What makes a map of it, until the artist chooses. */
const USUAL = { draw: "scribble", picture: "canny" };
const FRESH = { on: true, anew: [], source: "draw", asIs: false, annotators: {}, parameters: {}, model: null, weight: 1, start: 0, end: 1, mode: "balanced", resize: "crop", pose: null };

/** `units` in their order, each with the number of its place, 1 to 4; `chosen` is the place that is shown. */
export const guides = recall();
const listeners = new Set();

function recall() {
  try {
    const { units, chosen } = JSON.parse(remembered("guides", "{}"));
    const known = units.filter(({ place, source }) => place >= 1 && place <= MOST && source in SOURCES).map((unit) => ({ ...FRESH, ...unit }));
    return { units: known, chosen: known.some(({ place }) => place === chosen) ? chosen : known[0]?.place };
  } catch {
    return { units: [], chosen: undefined };
  }
}

/** `listener` is told now, and whenever a guide is added, removed, chosen or changed. */
export function onGuides(listener) {
  listeners.add(listener);
  listener();
}

function tell() {
  remember("guides", JSON.stringify(guides));
  for (const listener of listeners) listener();
}

export const chosenUnit = () => guides.units.find(({ place }) => place === guides.chosen);
export const unitAt = (place) => guides.units.find((unit) => unit.place === place);

export function choose(place) {
  if (guides.chosen === place) return;
  guides.chosen = place;
  tell();
}

/** A further guide, chosen at once; null when there are four. */
export function addGuide(source = "draw") {
  const place = [1, 2, 3, 4].find((free) => !unitAt(free));
  if (!place) return null;
  const unit = { ...FRESH, place, source, anew: ["draw", "picture", "pose"] };
  guides.units.push(unit);
  guides.units.sort((one, other) => one.place - other.place);
  guides.chosen = place;
  tell();
  return unit;
}

/** Take a guide off the list; returns what puts it back. */
export function removeGuide(place) {
  const unit = unitAt(place);
  guides.units.splice(guides.units.indexOf(unit), 1);
  if (guides.chosen === place) guides.chosen = guides.units[0]?.place;
  tell();
  return () => {
    if (!unitAt(place)) guides.units.push(unit);
    guides.units.sort((one, other) => one.place - other.place);
    guides.chosen = place;
    tell();
  };
}

export function change(unit, changes) {
  Object.assign(unit, changes);
  if (changes.on === undefined && changes.weight !== 0) unit.on = true; // who works on a guide wants it
  tell();
}

/** What is drawn or painted on a guide has changed; its settings have not. */
export function touched(place) {
  const unit = unitAt(place);
  if (unit) change(unit, {});
}

export const annotatorOf = (unit) => (unit.source === "pose" || unit.asIs ? "none" : (unit.annotators[unit.source] ?? USUAL[unit.source]));
export const canvasId = (unit) => `guide${unit.place}-${unit.source}`;

/** "Drawing, pose" */
export function guidesInWords() {
  const words = guides.units.filter(({ on }) => on).map(({ source }) => SOURCES[source]);
  return words.length ? words.join(", ").replace(/, ./g, (text) => text.toLowerCase()) : guides.units.length ? "off" : "none";
}

const canvases = () => import("./canvas.js");
let building = null; // makes the canvas of a unit that has not been shown yet
let surfaced;
const surface = new Promise((resolve) => (surfaced = resolve));
let most = Infinity;

/** `build(unit)` puts the canvas of a unit on the page; no more than `total` characters may be sent. */
export function onBuild(build, total) {
  building = build;
  most = total;
  surfaced();
}

export async function canvasOfUnit(unit) {
  if (!building) await surface; // on a busy machine Generate may be pressed before the page has one
  building(unit);
  const { source } = unit;
  const canvas = await (await canvases()).find(canvasId(unit));
  if (unit.anew?.includes(source)) {
    unit.anew = unit.anew.filter((other) => other !== source); // what an earlier guide left in its place
    canvas.reset();
    tell();
  }
  if (source === "draw" && !canvas.sheet) canvas.blank();
  return canvas;
}

/** The unit as the studio takes it, its picture included; `problem` in its place where there is nothing to follow. */
export async function described(unit) {
  const { source, place, model, weight, start, end, mode, resize } = unit;
  const annotator = annotatorOf(unit);
  const told = { annotator, parameters: unit.parameters[annotator] ?? {}, model, weight, start, end, mode, resize };
  if (source === "pose") {
    const { seen } = await import("./pose-figure.js");
    const pose = unit.pose && seen(unit.pose);
    return pose?.people.length ? { ...told, pose } : { problem: `Guide ${place} has no pose yet; add a person, or switch it off.` };
  }
  const blob = await (await canvasOfUnit(unit)).flat();
  const missing = source === "draw" ? "Nothing is drawn" : "There is no picture";
  if (!blob) return { problem: `${missing} on guide ${place} yet; switch it off, or ${source === "draw" ? "draw something" : "add a picture"}.` };
  const { dataUrl } = await import("./canvas-value.js");
  return { ...told, image: await dataUrl(blob) };
}

/** Gradio, at Generate: the guides that are on, as JSON. */
export async function sentGuides() {
  const on = guides.units.filter((unit) => unit.on && unit.weight > 0);
  const units = await Promise.all(on.map(async (unit) => ({ ...(await described(unit).catch(({ message }) => ({ problem: message }))), place: unit.place })));
  const value = JSON.stringify(units);
  return value.length <= most ? value : JSON.stringify([{ problem: "The pictures of the guides are too much to send at once; scale them down." }]);
}

/** Follow this picture, an address or a Blob, on the guide in front or on a new one. */
export async function guideWith(picture) {
  let unit = chosenUnit();
  if (unit?.source !== "picture") unit = addGuide("picture") ?? unit;
  change(unit, { source: "picture", on: true });
  await (await canvasOfUnit(unit)).load(picture);
  touched(unit.place);
}

/** The guides of a picture that is made again, in the place of those here; `address(n)` is where its n-th image lies. */
export async function adoptGuides(controls, address) {
  for (const unit of guides.units) unit.on = false;
  const loads = controls.map((control, i) => {
    const { annotator, parameters, model, weight, start, end, mode, resize } = control;
    const asIs = annotator === "none";
    const told = { ...FRESH, model, weight, start, end, mode, resize, asIs: asIs && !control.pose, place: i + 1, source: control.pose ? "pose" : "picture", pose: control.pose, anew: ["pose"] };
    if (!asIs) Object.assign(told, { annotators: { picture: annotator }, parameters: { [annotator]: parameters } });
    const old = unitAt(i + 1);
    if (old) guides.units.splice(guides.units.indexOf(old), 1);
    guides.units.push(told);
    return control.pose ? null : canvasOfUnit(told).then((canvas) => canvas.load(address(i + 1)));
  });
  guides.units.sort((one, other) => one.place - other.place);
  if (controls.length) guides.chosen = 1;
  tell();
  await Promise.all(loads);
  if (controls.length) tell();
}
