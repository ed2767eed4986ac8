// What is on a canvas, as Generate sends it.

import { png } from "./canvas-png.js";

export const dataUrl = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });

export class Value {
  constructor(canvas) {
    this.canvas = canvas;
    this.painted = null; // the painted layer as a data URL, until something changes
  }

  changed() {
    this.painted = null;
  }

  async flat() {
    const { sheet, mode } = this.canvas;
    if (!sheet) return null;
    const { width, height, layer, blob, bitmap } = sheet;
    const ground = mode === "draw" ? null : bitmap;
    if (layer.empty) return ground && blob;
    const strokes = await png(layer); // transparent where nothing is painted; the studio lays it on white
    if (!ground) return strokes;
    const page = new OffscreenCanvas(width, height);
    const context = page.getContext("2d");
    context.drawImage(ground, 0, 0);
    context.drawImage(await createImageBitmap(strokes), 0, 0);
    return page.convertToBlob({ type: "image/png" });
  }

  /** JSON: { width, height, source, mask | strokes }, or { problem } in a sentence, or {} for an empty canvas. */
  async json() {
    const { sheet, limits } = this.canvas;
    if (!sheet) return "{}";
    const { width, height, layer, blob } = sheet;
    this.painted ??= layer.empty ? Promise.resolve(null) : png(layer).then(dataUrl);
    const [source, painted] = await Promise.all([blob ? dataUrl(blob) : null, this.painted]);
    const value = JSON.stringify({ width, height, source, [layer.colour ? "strokes" : "mask"]: painted });
    if (value.length <= limits.total) return value;
    return JSON.stringify({ problem: "This picture and what is painted on it are too much to send at once; scale the picture down." });
  }
}
