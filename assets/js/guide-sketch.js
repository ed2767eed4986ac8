// A photographed sketch becomes clean lines: the studio straightens it and takes out paper, shadows and table.

import { root } from "./api.js";

/** The picture on `canvas`, cleaned: on a drawing its lines become strokes, elsewhere it takes the picture's place. */
export async function cleaned(canvas) {
  const { sheet } = canvas;
  if (!sheet?.blob) {
    canvas.complain("There is no photograph on this guide yet; open one first.");
    return;
  }
  try {
    const answer = await fetch(`${root()}/sketches`, { method: "POST", body: sheet.blob });
    if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error ?? "The studio could not clean this picture up.");
    const blob = await answer.blob();
    if (canvas.mode !== "draw") return canvas.load(blob);
    await canvas.paint(await inverted(blob));
    canvas.set({ tracing: 0 });
    canvas.complain("");
  } catch (refused) {
    canvas.complain(refused.message);
  }
}

/** Lines white on black, as `paint` takes them. */
async function inverted(blob) {
  const bitmap = await createImageBitmap(blob);
  const page = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = page.getContext("2d");
  context.filter = "invert(1)";
  context.drawImage(bitmap, 0, 0);
  return page.convertToBlob({ type: "image/png" });
}
