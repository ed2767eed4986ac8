// What is seen: the picture on one <canvas>, what is painted on another above it, both only as large as the place they
// have on the screen, whatever the picture's size. Three spaces: the picture's pixels, the screen's (device pixels of
// the place, "dots"), and the page's CSS pixels, in which pointers speak.

import { TILE } from "./canvas-layer.js";
import { bounds, drawFrame } from "./canvas-frame.js";

const MOST = 64; // dots for one pixel of the picture
const MARGIN = 0.92; // how much of the place a fitted picture takes

export class View {
  /** `changed()` is called when the picture has been moved or scaled. */
  constructor(easel, changed) {
    this.easel = easel;
    this.changed = changed;
    this.ground = document.createElement("canvas");
    this.overlay = document.createElement("canvas");
    this.ground.className = "canvas-ground";
    this.overlay.className = "canvas-overlay";
    this.overlay.tabIndex = -1;
    easel.append(this.ground, this.overlay);
    this.sheet = null;
    this.scale = 1; // dots per pixel of the picture
    this.left = 0; // where the picture's corner lies, in dots
    this.top = 0;
    this.fitted = true;
    this.tint = "#e0532f";
    this.tracing = 1; // how much of the picture is seen through the paper
    this.sides = [0, 0, 0, 0]; // of a frame around the picture
    this.shape = null; // an outline in the making: points [x, y] of the picture
    this.stamps = new Map(); // tile → a small canvas of it
    this.due = { ground: false, box: null };
    this.frame = 0;
    new ResizeObserver(() => this.resize()).observe(easel);
    this.#watchRatio();
  }

  /** Zooming the browser, or another screen, changes the dots without changing the place. */
  #watchRatio() {
    const again = () => (this.resize(), this.#watchRatio());
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", again, { once: true });
  }

  resize() {
    const { width, height } = this.easel.getBoundingClientRect();
    const [across, down] = [width, height].map((side) => Math.max(1, Math.round(side * devicePixelRatio)));
    if (!width || !height || (across === this.overlay.width && down === this.overlay.height)) return;
    const middle = this.middle();
    const look = this.look();
    for (const canvas of [this.ground, this.overlay]) Object.assign(canvas, { width: across, height: down });
    if (this.sheet) this.showAs(this.placed ? { ...look, middle } : this.wanted);
    this.placed = true;
  }

  /** The point of the picture in the middle of the place. */
  middle() {
    return [(this.overlay.width / 2 - this.left) / this.scale, (this.overlay.height / 2 - this.top) / this.scale];
  }

  fit() {
    const [left, top, right, bottom] = bounds(this.sheet, this.sides);
    return Math.min((this.overlay.width / (right - left)) * MARGIN, (this.overlay.height / (bottom - top)) * MARGIN, 16);
  }

  /** A frame around the picture: how far its sides lie outside, left, top, right, bottom. */
  setFrame(sides) {
    if (sides.join() === this.sides.join()) return;
    this.sides = sides;
    if (this.sheet && this.fitted) this.showAs({ fitted: true });
    else this.redraw();
  }

  /** How it is looked at, independent of the screen: { fitted, zoom: scale by that of the fitted picture, middle }. */
  look() {
    return { fitted: this.fitted, zoom: this.sheet ? this.scale / this.fit() : 1, middle: this.middle() };
  }

  showAs(look) {
    this.wanted = look;
    this.fitted = look?.fitted ?? true;
    const [left, top, right, bottom] = bounds(this.sheet, this.sides);
    const [x, y] = this.fitted ? [(left + right) / 2, (top + bottom) / 2] : look.middle;
    this.scale = this.fitted ? this.fit() : Math.min(MOST, this.fit() * look.zoom);
    this.left = this.overlay.width / 2 - x * this.scale;
    this.top = this.overlay.height / 2 - y * this.scale;
    this.#moved();
  }

  show(sheet, look = null) {
    this.sheet = sheet;
    this.stamps.clear();
    if (sheet) this.showAs(look);
    else this.redraw();
  }

  #moved() {
    if (this.sheet) {
      // A part of the picture always stays in sight.
      const [width, height] = [this.sheet.width * this.scale, this.sheet.height * this.scale];
      const [across, down] = [this.overlay.width, this.overlay.height];
      const keep = Math.min(64 * devicePixelRatio, across / 4, down / 4);
      this.left = Math.min(across - keep, Math.max(keep - width, this.left));
      this.top = Math.min(down - keep, Math.max(keep - height, this.top));
    }
    this.redraw();
    this.changed();
  }

  /** A pointer's place → dots. Through the box on the page, so page zoom and transforms cancel out. */
  dots({ clientX, clientY }) {
    const box = this.overlay.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * this.overlay.width, ((clientY - box.top) / box.height) * this.overlay.height];
  }

  /** A pointer's place → the picture's pixels, with fractions. */
  point(event) {
    const [x, y] = this.dots(event);
    return [(x - this.left) / this.scale, (y - this.top) / this.scale];
  }

  /** CSS pixels of the place per pixel of the picture. */
  get css() {
    return (this.scale * this.overlay.clientWidth) / this.overlay.width;
  }

  pan(dx, dy) {
    this.fitted = false;
    this.left += dx;
    this.top += dy;
    this.#moved();
  }

  /** Scale by `factor`, keeping what lies at the dot [x, y] in its place. */
  zoom(factor, [x, y] = [this.overlay.width / 2, this.overlay.height / 2]) {
    const least = Math.min(0.05, this.fit() / 4);
    const scale = Math.min(MOST, Math.max(least, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.#moved();
  }

  /** Draw everything again at the next frame. */
  redraw() {
    this.due.ground = true;
    this.#schedule();
  }

  /** Parts of tiles changed: [[i, [x0, y0, x1, y1]], …]. */
  refresh(parts) {
    if (!this.sheet) return;
    const { layer } = this.sheet;
    for (const [i, part] of parts) {
      this.#stamp(i, part);
      const left = (i % layer.columns) * TILE;
      const top = Math.floor(i / layer.columns) * TILE;
      const { box } = this.due;
      const mine = [left + part[0], top + part[1], left + part[2], top + part[3]];
      this.due.box = box ? [Math.min(box[0], mine[0]), Math.min(box[1], mine[1]), Math.max(box[2], mine[2]), Math.max(box[3], mine[3])] : mine;
    }
    this.#schedule();
  }

  refreshTiles(tiles) {
    for (const i of tiles) this.stamps.delete(i);
    this.refresh([...tiles].map((i) => [i, [0, 0, TILE, TILE]]));
  }

  /** Tiles that have become flat are drawn without a small canvas of theirs. */
  forgetFlat(tiles) {
    for (const i of tiles) if (typeof this.sheet.layer.tiles[i] === "number") this.stamps.delete(i);
  }

  setTint(tint) {
    if (this.tint === tint) return;
    this.tint = tint;
    this.refresh([]);
  }

  setTracing(share) {
    if (this.tracing === share) return;
    this.tracing = share;
    this.redraw();
  }

  #schedule() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const { ground, box } = this.due;
      this.due = { ground: false, box: null };
      if (ground) this.#drawGround();
      this.#drawOverlay(ground || this.shape || this.hadShape ? null : box);
      this.hadShape = Boolean(this.shape);
    });
  }

  #drawGround() {
    const context = this.ground.getContext("2d");
    context.clearRect(0, 0, this.ground.width, this.ground.height);
    if (!this.sheet) return;
    const { bitmap, width, height } = this.sheet;
    const [x0, y0, x1, y1] = [this.#x(0), this.#y(0), this.#x(width), this.#y(height)];
    if (!bitmap || this.tracing < 1) {
      context.fillStyle = "#fff";
      context.fillRect(x0, y0, x1 - x0, y1 - y0);
    }
    if (bitmap) {
      context.globalAlpha = this.tracing;
      context.imageSmoothingEnabled = this.scale < 2;
      context.imageSmoothingQuality = this.scale < 0.5 ? "medium" : "high";
      context.drawImage(bitmap, x0, y0, x1 - x0, y1 - y0);
      context.globalAlpha = 1;
    }
    drawFrame(context, this.sheet, this.sides, this.#x, this.#y, devicePixelRatio);
  }

  // Edges on whole dots: neighbouring tiles meet without a seam.
  #x = (x) => Math.round(this.left + x * this.scale);
  #y = (y) => Math.round(this.top + y * this.scale);

  #drawOverlay(box) {
    const { overlay, sheet } = this;
    const context = overlay.getContext("2d");
    context.save();
    if (box) {
      const [x, y] = [this.#x(box[0]) - 2, this.#y(box[1]) - 2];
      context.beginPath();
      context.rect(x, y, this.#x(box[2]) + 2 - x, this.#y(box[3]) + 2 - y);
      context.clip();
    }
    context.clearRect(0, 0, overlay.width, overlay.height);
    if (sheet) {
      const { layer } = sheet;
      context.imageSmoothingEnabled = this.scale < 2;
      const seen = box ?? [-this.left, -this.top, overlay.width - this.left, overlay.height - this.top].map((dot) => Math.floor(dot / this.scale));
      for (const [i] of layer.meeting([seen[0] - 1, seen[1] - 1, seen[2] + 2, seen[3] + 2])) this.#drawTile(context, layer, i);
      if (!layer.colour) {
        context.globalCompositeOperation = "source-in";
        context.fillStyle = this.tint;
        context.fillRect(0, 0, overlay.width, overlay.height);
      }
    }
    context.restore();
    if (this.shape) this.#drawShape(context);
  }

  #drawTile(context, layer, i) {
    const tile = layer.tiles[i];
    if (tile === 0) return;
    const left = (i % layer.columns) * TILE;
    const top = Math.floor(i / layer.columns) * TILE;
    const [across, down] = [Math.min(TILE, layer.width - left), Math.min(TILE, layer.height - top)];
    const [x0, y0, x1, y1] = [this.#x(left), this.#y(top), this.#x(left + across), this.#y(top + down)];
    if (typeof tile === "number") {
      context.fillStyle = layer.colour ? `rgb(${tile & 255} ${(tile >>> 8) & 255} ${(tile >>> 16) & 255} / ${(tile >>> 24) / 255})` : `rgb(0 0 0 / ${tile / 255})`;
      context.fillRect(x0, y0, x1 - x0, y1 - y0);
      return;
    }
    if (!this.stamps.has(i)) this.#stamp(i, [0, 0, TILE, TILE]);
    context.drawImage(this.stamps.get(i), 0, 0, across, down, x0, y0, x1 - x0, y1 - y0);
  }

  /** Bring the small canvas of tile `i` up to date within a part. */
  #stamp(i, [x0, y0, x1, y1]) {
    const { layer } = this.sheet;
    const tile = layer.tiles[i];
    if (typeof tile === "number") {
      this.stamps.delete(i);
      return;
    }
    let stamp = this.stamps.get(i);
    if (!stamp) {
      stamp = new OffscreenCanvas(TILE, TILE);
      this.stamps.set(i, stamp);
      [x0, y0, x1, y1] = [0, 0, TILE, TILE];
    }
    const image = new ImageData(x1 - x0, y1 - y0);
    const pixels = new Uint32Array(image.data.buffer);
    for (let y = y0, to = 0; y < y1; y++) {
      for (let at = y * TILE + x0, end = y * TILE + x1; at < end; at++) pixels[to++] = layer.colour ? tile[at] : tile[at] << 24;
    }
    stamp.getContext("2d", { willReadFrequently: true }).putImageData(image, x0, y0);
  }

  #drawShape(context) {
    context.save();
    context.beginPath();
    for (const [x, y] of this.shape) context.lineTo(this.left + x * this.scale, this.top + y * this.scale);
    context.closePath();
    context.lineWidth = 1.5 * devicePixelRatio;
    context.strokeStyle = "#000";
    context.stroke();
    context.setLineDash([6 * devicePixelRatio, 6 * devicePixelRatio]);
    context.strokeStyle = "#fff";
    context.stroke();
    context.restore();
  }
}
