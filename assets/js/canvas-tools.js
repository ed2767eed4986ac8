// The tools, each from press to release. A gesture is { move(events), end(), cancel() }; what it paints it paints at once,
// and hands to `canvas.commit` as one step when it ends.

import { Edit } from "./canvas-layer.js";
import { flood, polygon, rectangle, segment } from "./canvas-brush.js";

/** `away`: take away instead of adding. */
const newEdit = (canvas, away) =>
  new Edit(canvas.sheet.layer, { opacity: canvas.settings.opacity, colour: canvas.rgb(), erase: away });

/** Which coordinates turn over: the stroke itself, and its images in mirrors through the middle of the page. */
const MIRRORS = {
  none: [[false, false]],
  sides: [[false, false], [true, false]],
  both: [[false, false], [true, false], [false, true], [true, true]],
}; // prettier-ignore

/** A stroke from one [x, y, radius] to another, with its mirror images. */
function stroke(canvas, edit, from, to) {
  const { width, height } = canvas.sheet;
  const { hardness, symmetry } = canvas.settings;
  return MIRRORS[symmetry].flatMap(([across, down]) => {
    const turned = ([x, y, radius]) => [across ? width - x : x, down ? height - y : y, radius];
    return segment(edit, turned(from), turned(to), hardness);
  });
}

function brush(canvas, event, away) {
  const { steady } = canvas.settings;
  const edit = newEdit(canvas, away);
  const place = (at) => {
    const pressed = at.pointerType === "pen" && at.pressure > 0 ? 0.15 + 0.85 * at.pressure : 1;
    return [...canvas.view.point(at), Math.max(0.5, (canvas.settings.size / 2) * pressed)];
  };
  let last = place(event);
  let aim = last; // where the pointer is; a steadied stroke follows it
  const from = event.shiftKey && canvas.lastPoint ? canvas.lastPoint : last;
  canvas.view.refresh(stroke(canvas, edit, from, last));
  return {
    move(events) {
      for (const at of events) {
        aim = place(at);
        const next = aim.map((value, i) => last[i] + (value - last[i]) * (1 - 0.95 * steady));
        if (Math.hypot(next[0] - last[0], next[1] - last[1]) < Math.max(0.2, last[2] * 0.03)) continue;
        canvas.view.refresh(stroke(canvas, edit, last, next));
        last = next;
      }
    },
    end() {
      if (steady) canvas.view.refresh(stroke(canvas, edit, last, aim));
      canvas.lastPoint = aim;
      canvas.commit(edit.finish());
    },
    cancel: () => canvas.view.refreshTiles(edit.abandon()),
  };
}

/** Shapes show their outline while they grow and are painted on release. `paint(edit)` → touched parts. */
function outlined(canvas, away, { grow, outline, paint }) {
  const done = () => {
    canvas.view.shape = null;
    canvas.view.refresh([]);
  };
  return {
    move(events) {
      for (const event of events) grow(event);
      canvas.view.shape = outline();
      canvas.view.refresh([]);
    },
    end() {
      done();
      const edit = newEdit(canvas, away);
      canvas.view.refresh(paint(edit));
      canvas.commit(edit.finish());
    },
    cancel: done,
  };
}

/** The corner opposite to `from` of the square that reaches as far as `to` on its longer side. */
function squared(from, to) {
  const side = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]));
  return [0, 1].map((axis) => from[axis] + side * (Math.sign(to[axis] - from[axis]) || 1));
}

function rectangleTool(canvas, event, away) {
  const from = canvas.view.point(event);
  let to = from;
  const box = () => {
    const [width, height] = [canvas.sheet.width, canvas.sheet.height];
    const sides = (a, b, most) => [Math.min(a, b), Math.max(a, b)].map((side) => Math.min(most, Math.max(0, Math.round(side))));
    const [[x0, x1], [y0, y1]] = [sides(from[0], to[0], width), sides(from[1], to[1], height)];
    return [x0, y0, x1, y1];
  };
  return outlined(canvas, away, {
    grow(at) {
      to = canvas.view.point(at);
      if (at.shiftKey) to = squared(from, to);
    },
    outline() {
      const [x0, y0, x1, y1] = box();
      return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]; // prettier-ignore
    },
    paint: (edit) => rectangle(edit, box()),
  });
}

/** A straight line; with Shift in steps of 15°. */
function line(canvas, event, away) {
  const radius = canvas.settings.size / 2;
  const from = canvas.view.point(event);
  let to = from;
  return outlined(canvas, away, {
    grow(at) {
      to = canvas.view.point(at);
      if (!at.shiftKey) return;
      const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
      const angle = (Math.round((Math.atan2(dy, dx) * 12) / Math.PI) * Math.PI) / 12;
      const length = Math.hypot(dx, dy);
      to = [from[0] + length * Math.cos(angle), from[1] + length * Math.sin(angle)];
    },
    outline: () => [from, to],
    paint: (edit) => stroke(canvas, edit, [...from, radius], [...to, radius]),
  });
}

const ROUND = 96; // sides of what passes for an ellipse

/** The outline of an ellipse from corner to corner; with Shift a circle. */
function ellipse(canvas, event, away) {
  const radius = canvas.settings.size / 2;
  const from = canvas.view.point(event);
  let to = from;
  const points = () => {
    const [x, y] = [0, 1].map((axis) => (from[axis] + to[axis]) / 2);
    const [across, down] = [0, 1].map((axis) => Math.abs(to[axis] - from[axis]) / 2);
    return Array.from({ length: ROUND }, (_, i) => [x + across * Math.cos((2 * Math.PI * i) / ROUND), y + down * Math.sin((2 * Math.PI * i) / ROUND)]);
  };
  return outlined(canvas, away, {
    grow(at) {
      to = canvas.view.point(at);
      if (at.shiftKey) to = squared(from, to);
    },
    outline: points,
    paint: (edit) => points().flatMap((point, i, all) => stroke(canvas, edit, [...all.at(i - 1), radius], [...point, radius])),
  });
}

function lasso(canvas, event, away) {
  const points = [canvas.view.point(event)];
  return outlined(canvas, away, {
    grow(at) {
      const next = canvas.view.point(at);
      const [x, y] = points.at(-1);
      if (Math.hypot(next[0] - x, next[1] - y) >= 0.5) points.push(next);
    },
    outline: () => points,
    paint: (edit) => (points.length > 2 ? polygon(edit, points) : []),
  });
}

function fill(canvas, event, away) {
  const [x, y] = canvas.view.point(event).map(Math.floor);
  return {
    move: () => {},
    cancel: () => {},
    end() {
      const { width, height, layer } = canvas.sheet;
      if (x < 0 || y < 0 || x >= width || y >= height) return;
      const edit = newEdit(canvas, away);
      const byPicture = layer.colour || canvas.settings.fillBy === "picture";
      const alike = byPicture ? sameColour(canvas, x, y) : sameCover(layer, x, y);
      canvas.view.refresh(flood(edit, x, y, alike));
      canvas.commit(edit.finish());
    },
  };
}

/** Pixels painted about as much as the one at (x, y). */
function sameCover(layer, x, y) {
  const value = layer.at(x, y);
  return (px, py) => Math.abs(layer.at(px, py) - value) < 128;
}

/** Pixels that look about like the one at (x, y), strokes of a colour layer included. */
function sameColour(canvas, x, y) {
  const { bitmap, layer, width, height } = canvas.sheet;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  if (bitmap) context.drawImage(bitmap, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  const colourAt = (px, py) => over(pixels[py * width + px], layer.colour ? layer.at(px, py) : 0);
  const [r, g, b] = colourAt(x, y);
  const near = canvas.settings.tolerance * 255;
  return (px, py) => {
    const [or, og, ob] = colourAt(px, py);
    return Math.max(Math.abs(or - r), Math.abs(og - g), Math.abs(ob - b)) <= near;
  };
}

function over(ground, paint) {
  const share = (paint >>> 24) / 255;
  return [0, 8, 16].map((shift) => ((ground >>> shift) & 255) * (1 - share) + ((paint >>> shift) & 255) * share);
}

/** The colour under the pointer becomes the brush's. */
function pick(canvas, event) {
  const take = (at) => {
    const [x, y] = canvas.view.point(at).map(Math.floor);
    const { width, height, bitmap, layer } = canvas.sheet;
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, 1, 1);
    if (bitmap) context.drawImage(bitmap, -x, -y);
    const [ground] = new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer);
    const hex = over(ground, layer.at(x, y)).map((value) => Math.round(value).toString(16).padStart(2, "0"));
    canvas.set({ colour: `#${hex.join("")}` });
  };
  take(event);
  return { move: (events) => take(events.at(-1)), end: () => {}, cancel: () => {} };
}

const TOOLS = { brush, line, ellipse, rectangle: rectangleTool, lasso, fill };

/** Begin what the chosen tool does at `event`; Alt, the right button and a pen's other end take away. */
export function begin(canvas, event) {
  const { tool, away } = canvas.settings;
  if (canvas.sheet.layer.colour && event.altKey) return pick(canvas, event);
  const reversed = event.altKey || event.button === 2 || event.button === 5;
  const shape = ["rectangle", "lasso", "fill"].includes(tool);
  const takes = tool === "eraser" || (shape && away);
  return (TOOLS[tool] ?? brush)(canvas, event, tool === "eraser" ? true : reversed ? !takes : takes);
}
