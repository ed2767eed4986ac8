// Image, Inpaint and Guide: their canvases, and what the right side shows: the canvas, the result, or one over the other.

import { el, icon, remember, remembered } from "./dom.js";
import { generate, onShown, type } from "./form.js";
import { sentOfBatch, stopBatch, takeFromBatch } from "./batch.js";
import { adoptGuides, guideWith, sentGuides } from "./guide-units.js";
import { go, onRoute, route } from "./routes.js";
import { follow, inFront, onSession, session } from "./session.js";
import { quiet, say, toast } from "./notices.js";
import { picture, url } from "./api.js";

const MARK = "\ue000"; // begins what the browser fills in at Generate
const VIEWS = [
  ["canvas", "Canvas", "C"],
  ["result", "Result", "C"],
  ["compare", "Compare", "D"],
];
/** The sides of the frame of an outpainting, by the names of their controls. */
export const SIDES = ["left", "top", "right", "bottom"];
const listeners = new Set();
const chosen = {}; // room → view

/** The canvas comes with the first room that needs it. */
const canvases = () => import("./canvas.js").then((module) => (loaded = module));
let loaded = null;
export const canvasOf = async (room) => (await canvases()).find(room);
const hasCanvas = (room) => room === "image" || room === "inpaint";
const hasSurface = (room) => hasCanvas(room) || room === "guide";
/** A wide window has room for what is drawn and what comes of it. */
const wide = matchMedia("(min-width: 1280px)");
const bothShown = () => route() === "guide" && wide.matches;

export function mount(element, options) {
  let mounted = false;
  onRoute((tab) => {
    if (tab !== options.id || mounted) return;
    mounted = true;
    canvases().then((module) => module.mount(element, options));
  });
}

/** What the right side shows; text to image has nothing but results. */
export function view(room = route()) {
  if (!hasSurface(room)) return "result";
  if (room === "guide" && bothShown()) return "both";
  chosen[room] ??= remembered(`view.${room}`, "canvas");
  return VIEWS.some(([name]) => name === chosen[room]) ? chosen[room] : "canvas";
}

export function setView(name, room = route()) {
  if (hasSurface(room)) {
    chosen[room] = name;
    remember(`view.${room}`, name);
  }
  tell();
}

export const toggleView = (one, other) => setView(view() === one ? other : one);

export function onView(listener) {
  listeners.add(listener);
  listener(view());
}

function tell() {
  document.documentElement.dataset.view = view();
  for (const listener of listeners) listener(view());
}

export function viewSwitch(element) {
  const buttons = VIEWS.map(([name, title, key]) =>
    el("button", { type: "button", class: "view-button", "aria-keyshortcuts": key, title: `${title} (${key})`, onclick: () => setView(name) }, title),
  );
  element.replaceChildren(el("div", { class: "view-switch", role: "group", "aria-label": "On the right side" }, ...buttons));
  onView((shown) => VIEWS.forEach(([name], i) => buttons[i].setAttribute("aria-pressed", String(name === shown))));
  onRoute(tell);
  wide.addEventListener("change", tell);
  onShown(({ resize, area }) => Object.assign(document.documentElement.dataset, { resize, area }));
  let awaited = null;
  onSession(() => {
    if (session.awaited && session.awaited !== awaited && view() === "canvas") setView("result");
    awaited = session.awaited;
    buttons[2].disabled = !inFront() || route() === "guide"; // a guide is no source to compare with
  });
}

// Generate pressed while a picture is on its way to the canvas waits for it, and for the margins that go by its size.
document.addEventListener(
  "click",
  (event) => {
    if (!event.target.closest?.("#generate") || !hasCanvas(route()) || loaded?.settled(route()) !== null) return;
    event.stopImmediatePropagation();
    canvasOf(route()).then((canvas) => canvas.arrival).then(generate);
  },
  true,
);

/** Gradio, at Generate: which room, and what lies on its canvas. What lies on the other canvas stays here. */
export async function taken(values) {
  const room = route();
  const given = room === "image" ? await takeFromBatch() : null;
  const guides = room !== "guide" && document.documentElement.dataset.guided === "unable" ? "[]" : await sentGuides();
  const told = values.map((value) => {
    if (value === `${MARK}room`) return room;
    if (value === `${MARK}guides`) return guides;
    if (value === `${MARK}canvas:${room}`) return given ?? value;
    return typeof value === "string" && value.startsWith(MARK) ? "" : value;
  });
  return hasCanvas(room) ? (await canvases()).fetchInto(told) : told;
}

/** Gradio: what became of a request: { job }, { reused, room } or { error }. */
export function answer(told) {
  if (told?.error) {
    say(stopBatch(told.error), "error");
  } else if (told?.job) {
    quiet();
    follow(told.job);
    if (sentOfBatch() && route() === "image") generate();
  } else if (told?.reused) {
    quiet();
    bringBack(told.reused, told.room);
    toast("These are the settings of that picture, its seed included.");
  }
}

/** Put a finished picture on the canvas of `room`, or among the guides, and go there. */
export async function sendTo(id, room) {
  go(room);
  setView("canvas", room);
  if (room === "guide") return guideWith(url.file(id));
  if (room === "inpaint") for (const side of SIDES) type(side, "0"); // the frame was another picture's
  await (loaded ?? (await canvases())).load(room, url.file(id));
}

/** What a picture was made from comes to the canvas of its room, and its mask with it. */
async function bringBack(id, room) {
  go(room);
  const { request } = await picture(id);
  adoptGuides(request?.controls ?? [], (n) => url.input(id, `control${n}`));
  if (!hasCanvas(room)) return;
  setView("canvas", room);
  const canvas = await canvasOf(room);
  await canvas.load(url.input(id, "init"));
  if (room === "inpaint") await canvas.paint(url.input(id, "mask"));
}

// The size of the picture on the canvas

/** `act(sheet)` on what lies on the canvas of `room`: now, if it is there, so that a press of Generate finds it done. */
export function withSource(room, act) {
  const sheet = loaded?.settled(room)?.sheet;
  if (sheet) act(sheet);
  else waits(room, act);
}

async function waits(room, act) {
  const canvas = await canvasOf(room);
  await canvas.arrival;
  if (canvas.sheet) act(canvas.sheet);
  else say("There is no picture on the canvas yet; open one, paste one, or send a result here.", "error");
}

const drawable = (side) => Math.max(64, Math.round(side / 8) * 8);

export function fromSource(element) {
  const take = ({ width, height }) => {
    const scale = Math.min(1, 4096 / Math.max(width, height));
    type("width", String(drawable(width * scale)));
    type("height", String(drawable(height * scale)));
  };
  element.replaceChildren(el("button", { type: "button", class: "chip", onclick: () => withSource("image", take) }, icon("picture"), "Size of the source"));
}
