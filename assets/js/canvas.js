// A canvas: a picture and what the artist paints over it. Nothing leaves the browser until Generate asks for it.
//   mount(element, options)   what `studio/ui/canvas.py` places on the page
//   load(id, picture)         "send here": an address or a Blob
//   fetchInto(values)         at Generate: the values of the event, with those of the canvases filled in

import { el, remember, remembered } from "./dom.js";
import { toast } from "./notices.js";
import { Edit, Layer } from "./canvas-layer.js";
import { stencil } from "./canvas-brush.js";
import { History } from "./canvas-history.js";
import { Store } from "./canvas-store.js";
import { View } from "./canvas-view.js";
import { Hand } from "./canvas-hand.js";
import { buildBar, LARGEST } from "./canvas-bar.js";
import { fetchPicture, onPage, readSource } from "./canvas-source.js";
import { isListening, listen } from "./canvas-inputs.js";
import { Value } from "./canvas-value.js";

const PLACEHOLDER = "\ue000canvas:"; // as studio/ui/canvas.py writes it
const canvases = new Map(); // id → Canvas
const awaited = new Map(); // id → functions waiting for a canvas that is not there yet

const OPENING = {
  tool: "brush",
  size: 64,
  hardness: 0.9,
  opacity: 1,
  tolerance: 0.1,
  away: false,
  fillBy: "mask",
  colour: "#c8442a",
  tint: "#f0442a",
  recent: [],
  visible: true,
  symmetry: "none",
  steady: 0,
  tracing: 0.5,
};
/** Modes in which every stroke has a colour of its own. */
const COLOURED = ["sketch", "draw"];
const PEN = { hardness: 1, size: 6, tint: "#000000", colour: "#000000" };

/** `options`: { id, mode: "mask" | "sketch" | "line" | "draw", limits: { pixels, bytes, side, total }, page: [width, height] or what gives it, title: what it says while it is empty } */
export function mount(element, options) {
  const canvas = new Canvas(element, options);
  canvases.set(options.id, canvas);
  canvas.ready.then(() => {
    for (const tell of awaited.get(options.id) ?? []) tell(canvas);
    awaited.delete(options.id);
  });
}

/** The canvas `id`, once it is on the page and has remembered what was on it. */
export async function find(id) {
  const canvas = canvases.get(id);
  if (canvas) return canvas.ready.then(() => canvas);
  return new Promise((resolve) => awaited.set(id, [...(awaited.get(id) ?? []), resolve]));
}

/** The canvas `id` if it is on the page and nothing is on its way to it. */
export const settled = (id) => {
  const canvas = canvases.get(id);
  return canvas?.arriving ? null : canvas;
};

/** Put a picture, an address or a Blob, on the canvas `id`. `keep`: what is painted stays if the sizes are the same. */
export async function load(id, picture, { keep = false } = {}) {
  await (canvases.get(id) ?? (await find(id))).load(picture, { keep });
}

/** Gradio, at Generate: each value `canvas:<id>` becomes what is on that canvas, as JSON. */
export const fetchInto = (values) => Promise.all(values.map((value) => (isPlace(value) ? taken(value.slice(PLACEHOLDER.length)) : value)));

const isPlace = (value) => typeof value === "string" && value.startsWith(PLACEHOLDER);
const taken = async (id) => (await find(id)).value();

class Canvas {
  constructor(element, { id, mode, limits, page, title }) {
    Object.assign(this, { id, mode, limits, sheet: null, lastPoint: null, history: new History(), changed: () => {} });
    this.arriving = 0; // pictures and masks on their way …
    this.arrival = Promise.resolve(); // … and when the last of them is there, or has been refused
    this.page = typeof page === "function" ? page : () => page;
    this.coloured = COLOURED.includes(mode);
    this.opening = { ...OPENING, ...(mode === "line" || mode === "draw" ? PEN : {}) };
    this.settings = { ...this.opening, ...this.#recallSettings() };
    this.cursor = el("div", { class: "canvas-cursor", hidden: true });
    this.empty = this.#buildEmpty(title);
    this.easel = el("div", { class: "canvas-easel", tabindex: "0", role: "group", "aria-label": "Picture to paint on" }, this.empty);
    this.view = new View(this.easel, () => this.#looked());
    this.easel.append(this.cursor);
    this.hand = new Hand(this, this.easel, this.cursor);
    this.controls = buildBar(this);
    this.problem = el("p", { class: "canvas-problem", role: "alert" });
    this.told = el("p", { class: "sr-only", role: "status" });
    this.file = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", hidden: true, tabindex: "-1", "aria-label": "Picture file", onchange: () => this.#chosen() });
    this.element = el("section", { class: "canvas", "aria-label": "Canvas", "data-mode": mode }, this.controls.bar, this.controls.options, this.easel, this.problem, this.told, this.file);
    element.replaceChildren(this.element);
    this.values = new Value(this);
    this.store = new Store(id, () => this.#describe(), () => this.complain("This browser does not keep the canvas (is its storage full?); it lasts until the page is closed."));
    listen(this);
    this.#update();
    this.ready = this.#await(this.#restore());
  }

  #buildEmpty(title) {
    const choose = el("button", { type: "button", class: "tool with-text", onclick: () => this.choose() }, "Open a picture");
    const blank = this.mode !== "mask" && el("button", { type: "button", class: "tool with-text", onclick: () => this.blank() }, "Blank page");
    const words = title ?? { mask: "The picture to repaint", sketch: "A picture to start from" }[this.mode] ?? "A page to draw on";
    return el("div", { class: "canvas-empty" }, el("p", { class: "empty-title" }, words), el("p", { class: "quiet" }, "Drop it here, paste it, or"), el("div", { class: "canvas-empty-actions" }, choose, blank));
  }

  #recallSettings() {
    try {
      return JSON.parse(remembered(`canvas.${this.id}`, "{}"));
    } catch {
      return {};
    }
  }

  /** The default of a setting; the brush's size goes by the picture's. */
  defaults = (name) => {
    if (name === "size" && this.sheet && this.opening.size === OPENING.size) return Math.min(LARGEST, Math.max(4, Math.round(Math.min(this.sheet.width, this.sheet.height) / 10)));
    return this.opening[name];
  };

  rgb() {
    return [1, 3, 5].map((at) => parseInt(this.settings.colour.slice(at, at + 2), 16));
  }

  set(changes) {
    Object.assign(this.settings, changes);
    if ("size" in changes) this.settings.size = Math.min(LARGEST, Math.max(1, changes.size));
    remember(`canvas.${this.id}`, JSON.stringify(this.settings));
    this.hand.refreshCursor();
    this.#update();
  }

  /** Painting while what is painted is hidden would be painting blindfold. */
  reveal() {
    if (!this.settings.visible) this.set({ visible: true });
  }

  #update() {
    this.view.setTint(this.mode === "line" ? "#000" : this.settings.tint);
    this.view.setTracing(this.mode === "draw" ? this.settings.tracing : 1);
    this.element.toggleAttribute("data-hidden", !this.settings.visible);
    this.empty.hidden = Boolean(this.sheet);
    this.controls.update();
  }

  #looked() {
    if (!this.sheet) return;
    this.hand?.refreshCursor();
    this.store?.note();
    this.controls?.update();
  }

  // What is on it

  #await(coming) {
    this.arriving += 1;
    const here = coming.finally(() => (this.arriving -= 1));
    this.arrival = Promise.all([this.arrival, here]);
    return here;
  }

  load(picture, { keep = false } = {}) {
    return this.#await(this.#load(picture, keep));
  }

  async #load(picture, keep) {
    try {
      const blob = typeof picture === "string" ? await fetchPicture(picture) : picture;
      this.easel.toggleAttribute("data-busy", true);
      const source = await readSource(blob, this.limits);
      this.complain("");
      // What lies under a drawing is traced: it comes to the page's size instead of ending the drawing.
      if (this.mode === "draw" && this.sheet && !this.sheet.layer.empty) this.#place(await onPage(source, this.sheet), true);
      else this.#place(source, keep);
    } catch (refused) {
      this.complain(refused.message);
    } finally {
      this.easel.toggleAttribute("data-busy", false);
    }
  }

  /** Paint a mask or lines kept as a picture, white where they are, as one step that can be undone. */
  paint(picture) {
    return this.#await(this.#paint(picture));
  }

  async #paint(picture) {
    const { sheet } = this;
    if (!sheet) return;
    try {
      const bitmap = await createImageBitmap(typeof picture === "string" ? await fetchPicture(picture) : picture);
      const { width, height, layer } = sheet;
      const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      context.drawImage(bitmap, 0, 0, width, height);
      bitmap.close();
      if (sheet !== this.sheet) return;
      const edit = new Edit(layer, { colour: layer.colour ? this.rgb() : null });
      this.view.refresh(stencil(edit, context.getImageData(0, 0, width, height).data));
      this.commit(edit.finish());
    } catch {
      return; // without its mask
    }
  }

  /** How far the sides of an outpainting's frame lie outside of the picture: left, top, right, bottom. */
  setFrame(sides) {
    this.view.setFrame(sides);
  }

  /** As if it had never been used. */
  reset() {
    if (!this.sheet) return;
    this.#show(null);
    this.history = new History();
    this.#update();
  }

  blank([width, height] = this.page()) {
    this.complain("");
    this.#place({ blob: null, bitmap: null, width, height }, false);
  }

  #place(source, keep) {
    const { sheet: old } = this;
    const same = old && old.width === source.width && old.height === source.height;
    const layer = new Layer(source.width, source.height, this.coloured);
    if (keep && same) layer.tiles = old.layer.tiles.map((tile) => (typeof tile === "number" ? tile : tile.slice()));
    this.#show({ ...source, layer, token: crypto.getRandomValues(new Uint32Array(2)).join("-") }, same ? this.view.look() : null);
    if (old) this.history.add({ sheet: old });
    else this.set({ size: this.defaults("size") });
    if (old && !old.layer.empty && !keep) toast("A new picture is on the canvas.", { label: "Undo", run: () => this.act("undo") });
    this.#update();
  }

  #show(sheet, look = null) {
    this.hand.stop();
    this.lastPoint = null;
    this.sheet = sheet;
    this.view.show(sheet, look);
    this.values.changed();
    this.store.note();
    this.changed();
  }

  /** For the history: another picture in the place of this one. Returns this one. */
  exchange(sheet) {
    const old = this.sheet;
    this.#show(sheet);
    return old;
  }

  /** A finished stroke, as `Edit.finish` gives it. */
  commit(tiles) {
    if (!tiles.size) return;
    this.history.add({ tiles });
    this.view.forgetFlat(tiles.keys());
    this.#noted([...tiles.keys()]);
    const { colour, recent } = this.settings;
    if (this.coloured && recent[0] !== colour) this.set({ recent: [colour, ...recent.filter((known) => known !== colour)].slice(0, 6) });
  }

  #painted(tiles) {
    this.view.refreshTiles(tiles);
    this.#noted(tiles);
  }

  #noted(tiles) {
    this.values.changed();
    this.store.note(tiles);
    this.#update();
    this.changed();
  }

  /** `listener` is told when what is on it has changed. */
  onChange(listener) {
    this.changed = listener;
  }

  // What can be done

  act(name) {
    const { view } = this;
    const { size, hardness } = this.settings;
    const step = 80 * devicePixelRatio;
    const actions = {
      undo: () => this.#turn(false),
      redo: () => this.#turn(true),
      invert: () => !this.coloured && this.#invert(),
      clear: () => this.#clear(),
      toggle: () => this.set({ visible: !this.settings.visible }),
      smaller: () => this.set({ size: Math.min(size - 1, Math.round(size / 1.2)) }),
      larger: () => this.set({ size: Math.max(size + 1, Math.round(size * 1.2)) }),
      softer: () => this.set({ hardness: Math.max(0, Math.round(hardness * 10 - 1) / 10) }),
      harder: () => this.set({ hardness: Math.min(1, Math.round(hardness * 10 + 1) / 10) }),
      zoomIn: () => view.zoom(1.25),
      zoomOut: () => view.zoom(1 / 1.25),
      fit: () => view.showAs({ fitted: true }),
      oneToOne: () => view.zoom(1 / view.scale),
      panLeft: () => view.pan(step, 0),
      panRight: () => view.pan(-step, 0),
      panUp: () => view.pan(0, step),
      panDown: () => view.pan(0, -step),
    };
    if (!this.sheet) return;
    if (actions[name]) actions[name]();
    else if (this.controls.tools.includes(name)) this.set({ tool: name });
  }

  #turn(forward) {
    this.hand.stop();
    const step = this.history.turn(this, forward);
    if (!step) return;
    this.lastPoint = null;
    if (step.tiles) this.#painted([...step.tiles.keys()]);
    else if (step.inverted) this.#painted([...this.sheet.layer.indices()]);
    this.#update();
    this.told.textContent = forward ? "Done again." : "Undone.";
  }

  get listening() {
    return isListening(this);
  }

  get layer() {
    return this.sheet.layer;
  }

  #invert() {
    this.layer.invert();
    this.history.add({ inverted: true });
    this.#painted([...this.layer.indices()]);
    this.told.textContent = "Inverted.";
  }

  #clear() {
    if (this.layer.empty) return;
    const tiles = new Map([...this.layer.indices()].filter((i) => this.layer.tiles[i] !== 0).map((i) => [i, this.layer.pack(i)]));
    for (const i of tiles.keys()) this.layer.tiles[i] = 0;
    this.history.add({ tiles });
    this.#painted([...tiles.keys()]);
    this.told.textContent = "Cleared.";
  }

  /** What is seen of it as one file, strokes alone where the picture below is only traced; null: nothing. */
  async flat() {
    await this.arrival;
    return this.values.flat();
  }

  /** What Generate is given: JSON. */
  async value() {
    await this.arrival;
    return this.values.json();
  }

  complain(sentence) {
    this.problem.textContent = sentence;
  }

  // Memory

  #describe() {
    const { sheet } = this;
    if (!sheet) return { token: null };
    const { token, width, height, blob, layer } = sheet;
    return { token, width, height, look: this.view.look(), mode: this.mode, blob, layer };
  }

  async #restore() {
    try {
      const kept = await this.store.recall(this.coloured ? Uint32Array : Uint8Array);
      if (!kept?.record.token || kept.record.mode !== this.mode || this.sheet) return;
      const { record, blob, tiles } = kept;
      const source = blob ? await readSource(blob, this.limits) : { blob: null, bitmap: null, width: record.width, height: record.height };
      if (this.sheet) return; // something has been put here meanwhile
      const layer = new Layer(source.width, source.height, this.coloured);
      for (const [i, tile] of tiles) layer.tiles[i] = tile;
      this.#show({ ...source, layer, token: record.token }, record.look);
      this.#update();
    } catch (lost) {
      if (!(lost instanceof DOMException)) this.complain(lost.message); // no storage, nothing remembered
    }
  }

  choose() {
    this.file.click();
  }

  #chosen() {
    const [file] = this.file.files;
    if (file) this.load(file);
    this.file.value = ""; // the same file can be chosen again
  }
}
