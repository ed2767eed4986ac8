// What is painted over a picture, in the picture's own pixels: square tiles, of which the untouched cost nothing.
// It lives in plain memory, not in a <canvas>: nothing is premultiplied, rounded or, by privacy guards, made noisy.

export const TILE = 256;
const AREA = TILE * TILE;

/** The part of tile `i` within a rectangle [x0, y0, x1, y1), in the tile's own coordinates; null: none. */
function within(layer, i, [x0, y0, x1, y1]) {
  const left = (i % layer.columns) * TILE;
  const top = Math.floor(i / layer.columns) * TILE;
  const part = [Math.max(0, x0 - left), Math.max(0, y0 - top), Math.min(TILE, x1 - left), Math.min(TILE, y1 - top)];
  return part[0] < part[2] && part[1] < part[3] ? part : null;
}

/** A tile as few numbers: one for a flat tile, [length, value, …] where that is shorter, else a copy. */
export function pack(tile) {
  if (typeof tile === "number") return tile;
  const most = tile.byteLength / 8;
  const runs = [];
  for (let at = 0; at < AREA; ) {
    const value = tile[at];
    let end = at + 1;
    while (end < AREA && tile[end] === value) end++;
    if (end - at === AREA) return value;
    runs.push(end - at, value);
    if (runs.length >= most) return tile.slice();
    at = end;
  }
  return { runs: Uint32Array.from(runs) };
}

export function unpack(packed, Kind) {
  if (!packed?.runs) return packed;
  const tile = new Kind(AREA);
  let at = 0;
  for (let i = 0; i < packed.runs.length; i += 2) {
    tile.fill(packed.runs[i + 1], at, (at += packed.runs[i]));
  }
  return tile;
}

export const bytesOf = (packed) => packed?.byteLength ?? packed?.runs?.byteLength ?? 8;

export class Layer {
  /** `colour`: RGBA in each pixel (32 bits, straight alpha); otherwise one byte, 0 untouched … 255 entirely. */
  constructor(width, height, colour = false) {
    this.width = width;
    this.height = height;
    this.colour = colour;
    this.Kind = colour ? Uint32Array : Uint8Array;
    this.columns = Math.ceil(width / TILE);
    this.rows = Math.ceil(height / TILE);
    this.tiles = new Array(this.columns * this.rows).fill(0);
  }

  get empty() {
    return this.tiles.every((tile) => tile === 0);
  }

  pack(i) {
    return pack(this.tiles[i]);
  }

  indices() {
    return this.tiles.keys();
  }

  at(x, y) {
    const tile = this.tiles[Math.floor(y / TILE) * this.columns + Math.floor(x / TILE)];
    return typeof tile === "number" ? tile : tile[(y % TILE) * TILE + (x % TILE)];
  }

  /** Tiles that meet [x0, y0, x1, y1): their index and the part in their own coordinates. */
  *meeting(box) {
    const [x0, y0, x1, y1] = box;
    const lastColumn = Math.min(this.columns - 1, Math.floor((x1 - 1) / TILE));
    const lastRow = Math.min(this.rows - 1, Math.floor((y1 - 1) / TILE));
    for (let row = Math.max(0, Math.floor(y0 / TILE)); row <= lastRow; row++) {
      for (let column = Math.max(0, Math.floor(x0 / TILE)); column <= lastColumn; column++) {
        const i = row * this.columns + column;
        const part = within(this, i, box);
        if (part) yield [i, part];
      }
    }
  }

  /** Rows `from` … `to` of the picture (to - from at most TILE, in one row of tiles), as one array. */
  band(row) {
    const from = row * TILE;
    const height = Math.min(TILE, this.height - from);
    const band = new this.Kind(this.width * height);
    for (let column = 0; column < this.columns; column++) {
      const tile = this.tiles[row * this.columns + column];
      const left = column * TILE;
      const across = Math.min(TILE, this.width - left);
      for (let y = 0; y < height; y++) {
        const at = y * this.width + left;
        if (typeof tile !== "number") band.set(tile.subarray(y * TILE, y * TILE + across), at);
        else if (tile) band.fill(tile, at, at + across);
      }
    }
    return band;
  }

  /** 255 minus each value, of a one-byte layer. */
  invert() {
    this.tiles = this.tiles.map((tile) => (typeof tile === "number" ? 255 - tile : tile.map((value) => 255 - value)));
  }
}

/** One stroke, shape or fill on its way: how much of each pixel it covers, laid over what was there before it. */
export class Edit {
  /** `opacity` 0…1; `colour` [r, g, b] for a colour layer; `erase` takes away instead. */
  constructor(layer, { opacity = 1, colour = null, erase = false }) {
    this.layer = layer;
    this.opacity = opacity;
    this.colour = colour;
    this.erase = erase;
    this.before = new Map();
    this.cover = new Map();
    this.mix = layer.colour ? this.#mixColour() : this.#mixByte();
  }

  /** Tile `i` under a tool: { cover: its coverage so far, raise(at, value): cover a pixel more than so far }. */
  tile(i) {
    const { layer, mix } = this;
    if (!this.cover.has(i)) {
      const tile = layer.tiles[i];
      this.before.set(i, tile);
      layer.tiles[i] = typeof tile === "number" ? new layer.Kind(AREA).fill(tile) : tile.slice();
      this.cover.set(i, new Uint8Array(AREA));
    }
    const cover = this.cover.get(i);
    const tile = layer.tiles[i];
    const old = this.before.get(i);
    const flat = typeof old === "number";
    const raise = (at, value) => {
      if (value <= cover[at]) return;
      cover[at] = value;
      tile[at] = mix(flat ? old : old[at], value);
    };
    return { cover, raise };
  }

  #mixByte() {
    const { opacity } = this;
    if (this.erase) return (old, cover) => Math.round(old * (1 - (cover / 255) * opacity));
    return (old, cover) => Math.round(old + (255 - old) * (cover / 255) * opacity);
  }

  #mixColour() {
    const { opacity } = this;
    if (this.erase) {
      return (old, cover) => {
        const alpha = Math.round((old >>> 24) * (1 - (cover / 255) * opacity));
        return alpha ? ((old & 0xffffff) | (alpha << 24)) >>> 0 : 0;
      };
    }
    const [r, g, b] = this.colour;
    return (old, cover) => {
      const over = (cover / 255) * opacity;
      const under = ((old >>> 24) / 255) * (1 - over);
      const alpha = over + under;
      const one = (mine, shift) => Math.round((mine * over + ((old >>> shift) & 255) * under) / alpha) << shift;
      return (one(r, 0) | one(g, 8) | one(b, 16) | (Math.round(alpha * 255) << 24)) >>> 0;
    };
  }

  /** Back to what was before. Returns the tiles that changed. */
  abandon() {
    for (const [i, tile] of this.before) this.layer.tiles[i] = tile;
    return [...this.before.keys()];
  }

  /** What was before, packed, of the tiles that really changed. */
  finish() {
    const step = new Map();
    for (const [i, old] of this.before) {
      const tile = this.layer.tiles[i];
      const same = typeof old === "number" ? tile.every((value) => value === old) : tile.every((value, at) => value === old[at]);
      if (same) {
        this.layer.tiles[i] = old;
        continue;
      }
      step.set(i, pack(old));
      if (tile.every((value) => value === tile[0])) this.layer.tiles[i] = tile[0];
    }
    return step;
  }
}
