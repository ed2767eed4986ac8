// How much of each pixel a brush, a rectangle, a lasso or a fill covers. Coordinates are the picture's; a pixel's centre
// lies at its index plus one half. Every tool raises the coverage of an `Edit` and returns the tile parts it touched.

import { TILE } from "./canvas-layer.js";

/** A stroke from (x0, y0) with radius r0 to (x1, y1) with r1; `hardness` 0…1 is the solid share of the radius. */
export function segment(edit, [x0, y0, r0], [x1, y1, r1], hardness) {
  const { layer } = edit;
  const reach = Math.max(r0, r1) + 1;
  const box = [Math.min(x0, x1) - reach, Math.min(y0, y1) - reach, Math.max(x0, x1) + reach, Math.max(y0, y1) + reach].map(Math.floor);
  box[2] = Math.min(layer.width, box[2] + 1);
  box[3] = Math.min(layer.height, box[3] + 1);
  const [dx, dy, dr] = [x1 - x0, y1 - y0, r1 - r0];
  const length = dx * dx + dy * dy;
  const touched = [];
  for (const [i, part] of layer.meeting(box)) {
    const left = (i % layer.columns) * TILE;
    const top = Math.floor(i / layer.columns) * TILE;
    const { cover, raise } = edit.tile(i);
    for (let y = part[1]; y < part[3]; y++) {
      const py = top + y + 0.5 - y0;
      for (let x = part[0]; x < part[2]; x++) {
        const at = y * TILE + x;
        if (cover[at] === 255) continue;
        const px = left + x + 0.5 - x0;
        const along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
        const [ex, ey] = [px - along * dx, py - along * dy];
        const radius = r0 + along * dr;
        const square = ex * ex + ey * ey;
        if (square >= (radius + 0.5) * (radius + 0.5)) continue;
        const soft = radius * (1 - hardness);
        const band = Math.max(1, soft);
        const solid = Math.max(0, radius + 0.5 - band);
        let value = 255;
        if (square > solid * solid) {
          const share = Math.min(1, (radius + 0.5 - Math.sqrt(square)) / band);
          value = Math.round(255 * (soft > 1 ? share * share * (3 - 2 * share) : share));
        }
        raise(at, value);
      }
    }
    touched.push([i, part]);
  }
  return touched;
}

/** Everything within whole pixels [x0, y0, x1, y1). */
export function rectangle(edit, [x0, y0, x1, y1]) {
  const { layer } = edit;
  const box = [x0, y0, Math.min(layer.width, x1), Math.min(layer.height, y1)];
  const touched = [...layer.meeting(box)];
  for (const [i, [left, top, right, bottom]] of touched) {
    const { raise } = edit.tile(i);
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) raise(y * TILE + x, 255);
  }
  return touched;
}

/** The red of `pixels`, RGBA of the whole layer, as coverage. */
export function stencil(edit, pixels) {
  const { layer } = edit;
  const touched = [...layer.meeting([0, 0, layer.width, layer.height])];
  for (const [i, [x0, y0, x1, y1]] of touched) {
    const left = (i % layer.columns) * TILE;
    const top = Math.floor(i / layer.columns) * TILE;
    const { raise } = edit.tile(i);
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) raise(y * TILE + x, pixels[4 * ((top + y) * layer.width + left + x)]);
  }
  return touched;
}

const SLICES = 4; // scan lines per row of pixels: edges are smooth to 1/4 pixel down and exactly across

/** The inside of a closed polygon of points [x, y], by the nonzero rule: loops drawn twice stay inside. */
export function polygon(edit, points) {
  const { layer } = edit;
  const ys = points.map(([, y]) => y);
  const top = Math.max(0, Math.floor(Math.min(...ys)));
  const bottom = Math.min(layer.height, Math.ceil(Math.max(...ys)));
  const touched = new Map();
  const row = new Float32Array(layer.width);
  const edges = points.map((from, i) => [from, points[(i + 1) % points.length]]).filter(([a, b]) => a[1] !== b[1]);
  for (let y = top; y < bottom; y++) {
    row.fill(0);
    let [from, to] = [layer.width, 0];
    for (let slice = 0; slice < SLICES; slice++) {
      for (const [start, end] of spans(edges, y + (slice + 0.5) / SLICES)) {
        const [a, b] = [Math.max(0, start), Math.min(layer.width, end)];
        if (a >= b) continue;
        cover(row, a, b);
        from = Math.min(from, Math.floor(a));
        to = Math.max(to, Math.ceil(b));
      }
    }
    for (const [i, [left, , right]] of layer.meeting([from, y, to, y + 1])) {
      const { raise } = edit.tile(i);
      const origin = (i % layer.columns) * TILE;
      for (let x = left; x < right; x++) raise((y % TILE) * TILE + x, Math.round((255 * row[origin + x]) / SLICES));
      touched.set(i, [0, 0, TILE, TILE]);
    }
  }
  return [...touched];
}

function spans(edges, y) {
  const crossings = [];
  for (const [[ax, ay], [bx, by]] of edges) {
    if (ay <= y !== by <= y) crossings.push([ax + ((y - ay) / (by - ay)) * (bx - ax), ay < by ? 1 : -1]);
  }
  crossings.sort((a, b) => a[0] - b[0]);
  const found = [];
  let winding = 0;
  crossings.forEach(([x, turn], i) => {
    winding += turn;
    if (winding && crossings[i + 1]) found.push([x, crossings[i + 1][0]]);
  });
  return found;
}

function cover(row, from, to) {
  const [first, last] = [Math.floor(from), Math.ceil(to) - 1];
  if (first === last) {
    row[first] += to - from;
    return;
  }
  row[first] += first + 1 - from;
  for (let x = first + 1; x < last; x++) row[x] += 1;
  row[last] += to - last;
}

/** The pixels around (x, y) that `alike` connects, and one ring more, so that no soft rim stays between fill and line. */
export function flood(edit, x, y, alike) {
  const { layer } = edit;
  const { width, height } = layer;
  const inside = new Uint8Array(width * height);
  const stack = [[x, y]];
  while (stack.length) {
    const [startX, atY] = stack.pop();
    const row = atY * width;
    if (inside[row + startX]) continue;
    let left = startX;
    while (left > 0 && !inside[row + left - 1] && alike(left - 1, atY)) left--;
    let right = startX;
    while (right < width - 1 && !inside[row + right + 1] && alike(right + 1, atY)) right++;
    inside.fill(1, row + left, row + right + 1);
    for (const next of [atY - 1, atY + 1]) {
      if (next < 0 || next >= height) continue;
      for (let at = left; at <= right; at++) {
        if (inside[next * width + at] || !alike(at, next)) continue;
        stack.push([at, next]);
        while (at < right && alike(at + 1, next)) at++;
      }
    }
  }
  const touched = [];
  for (const i of layer.indices()) {
    const left = (i % layer.columns) * TILE;
    const top = Math.floor(i / layer.columns) * TILE;
    const [across, down] = [Math.min(TILE, width - left), Math.min(TILE, height - top)];
    let target = null;
    for (let dy = 0; dy < down; dy++) {
      for (let dx = 0; dx < across; dx++) {
        const at = (top + dy) * width + left + dx;
        const near =
          inside[at] ||
          (left + dx > 0 && inside[at - 1]) ||
          (left + dx < width - 1 && inside[at + 1]) ||
          (top + dy > 0 && inside[at - width]) ||
          (top + dy < height - 1 && inside[at + width]);
        if (!near) continue;
        target ??= edit.tile(i);
        target.raise(dy * TILE + dx, 255);
      }
    }
    if (target) touched.push([i, [0, 0, TILE, TILE]]);
  }
  return touched;
}
