// Undo and redo. A step keeps only the tiles it changed, as they were on the other side of it; undoing swaps the sides.

import { bytesOf, pack, unpack } from "./canvas-layer.js";

const STEPS = 500;
const BUDGET = 256 * 2 ** 20;

/** Steps are { tiles } | { inverted } | { sheet }: a whole picture with its layer, exchanged for another. */
export class History {
  constructor() {
    this.done = [];
    this.undone = [];
    this.bytes = 0;
  }

  add(step) {
    for (const lost of this.undone) this.bytes -= lost.bytes;
    this.undone = [];
    this.#weigh(step);
    this.done.push(step);
    while (this.done.length > 1 && (this.done.length > STEPS || this.bytes > BUDGET)) this.bytes -= this.done.shift().bytes;
  }

  #weigh(step) {
    step.bytes = 64;
    for (const packed of step.tiles?.values() ?? []) step.bytes += bytesOf(packed);
    for (const tile of step.sheet?.layer.tiles ?? []) step.bytes += bytesOf(tile);
    if (step.sheet?.bitmap) step.bytes += step.sheet.width * step.sheet.height * 4;
    this.bytes += step.bytes;
  }

  /** Take a step back (or, with `forward`, again) over `sheet`; returns the step, or null when there is none. */
  turn(sheet, forward) {
    const [from, to] = forward ? [this.undone, this.done] : [this.done, this.undone];
    const step = from.pop();
    if (!step) return null;
    this.bytes -= step.bytes;
    if (step.tiles) {
      const { layer } = sheet;
      for (const [i, packed] of step.tiles) {
        const now = pack(layer.tiles[i]);
        layer.tiles[i] = unpack(packed, layer.Kind);
        step.tiles.set(i, now);
      }
    } else if (step.inverted) sheet.layer.invert();
    else step.sheet = sheet.exchange(step.sheet);
    this.#weigh(step);
    to.push(step);
    return step;
  }
}
