// The browser's memory of each canvas: the picture as it came, its painted tiles, how it was looked at. A stroke writes
// the few tiles it changed, so a large picture is kept as quickly as a small one.

import { pack, unpack } from "./canvas-layer.js";

const NAME = "pochade.canvas";
const STORES = ["sheets", "sources", "tiles"];
const WAIT = 250;
let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("sheets");
      request.result.createObjectStore("sources"); // apart: every put of a Blob writes it anew
      request.result.createObjectStore("tiles");
    };
    request.onsuccess = () => {
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
  return opened;
}

const answer = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const settled = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onabort = () => reject(transaction.error);
  });

/** What was put under `id`, or undefined; and put something there, nothing for null. Not for the name of a canvas. */
export const recall = async (id) => answer((await open()).transaction("sources").objectStore("sources").get(id));
export async function keep(id, value) {
  const store = (await open()).transaction("sources", "readwrite").objectStore("sources");
  return answer(value === null ? store.delete(id) : store.put(value, id));
}

const tilesOf = (id) => IDBKeyRange.bound([id], [id, []]);

export class Store {
  /** `describe()`: the present { token, width, height, look, blob, layer }; `failed(error)` is told once. */
  constructor(id, describe, failed) {
    this.id = id;
    this.describe = describe;
    this.failed = failed;
    this.dirty = new Set();
    this.timer = 0;
    this.work = Promise.resolve();
    this.broken = false;
    document.addEventListener("visibilitychange", () => document.hidden && this.flush());
    addEventListener("pagehide", () => this.flush());
  }

  /** What was kept: { record, blob, tiles }, or null. */
  async recall(Kind) {
    const transaction = (await open()).transaction(STORES);
    const record = await answer(transaction.objectStore("sheets").get(this.id));
    if (!record) return null;
    const blob = await answer(transaction.objectStore("sources").get(this.id));
    const range = tilesOf(this.id);
    const store = transaction.objectStore("tiles");
    const [keys, values] = await Promise.all([answer(store.getAllKeys(range)), answer(store.getAll(range))]);
    const tiles = new Map();
    keys.forEach(([, token, i], at) => token === record.token && tiles.set(i, unpack(values[at], Kind)));
    return { record, blob: blob ?? null, tiles };
  }

  /** Something changed: these tiles, and perhaps the way it is looked at. */
  note(tiles = []) {
    for (const i of tiles) this.dirty.add(i);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), WAIT);
  }

  /** Write what is due, one writing after another. */
  flush() {
    if (!this.timer) return this.work;
    clearTimeout(this.timer);
    this.timer = 0;
    this.work = this.work.then(() => this.#write()).catch((error) => {
      if (!this.broken) this.failed(error);
      this.broken = true;
    });
    return this.work;
  }

  async #write() {
    const transaction = (await open()).transaction(STORES, "readwrite");
    const [sheets, sources, tiles] = STORES.map((name) => transaction.objectStore(name));
    const { layer, blob, ...record } = this.describe();
    const due = this.dirty;
    this.dirty = new Set();
    const end = settled(transaction);
    // Another tab may have put a picture of its own here: then ours is written as a whole.
    const kept = await answer(sheets.get(this.id));
    if (kept?.token !== record.token) {
      tiles.delete(tilesOf(this.id));
      if (blob) sources.put(blob, this.id);
      else sources.delete(this.id);
      for (const i of layer?.indices() ?? []) due.add(i);
    }
    sheets.put(record, this.id);
    for (const i of due) {
      const key = [this.id, record.token, i];
      const tile = layer?.tiles[i];
      if (tile) tiles.put(pack(tile), key);
      else tiles.delete(key);
    }
    try {
      await end;
    } catch (error) {
      for (const i of due) this.dirty.add(i);
      throw error;
    }
    this.broken = false;
  }
}
