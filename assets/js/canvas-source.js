// Pictures on their way in: looked at before they are decoded, turned upright, refused with a sentence.

const OTHERS = [
  ["GIF8", 0, "a GIF"],
  ["BM", 0, "a BMP"],
  ["II*\0", 0, "a TIFF"],
  ["MM\0*", 0, "a TIFF"],
  ["8BPS", 0, "a Photoshop"],
  ["ftyphei", 4, "a HEIC"],
  ["ftypmif1", 4, "a HEIC"],
  ["ftypavif", 4, "an AVIF"],
  ["%PDF", 0, "a PDF"],
  ["<svg", 0, "an SVG"],
];

const TYPES = { 0x89: "image/png", 0xff: "image/jpeg", 0x52: "image/webp" }; // by the first byte

/** Width and height as the file's head tells them (before any rotation), or null for what we do not read. */
function sizeOf(bytes) {
  const view = new DataView(bytes.buffer);
  const text = (at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
  if (text(1, 3) === "PNG" && bytes.length > 24) return [view.getUint32(16), view.getUint32(20)];
  if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP" && bytes.length > 30) {
    const kind = text(12, 4);
    if (kind === "VP8 ") return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
    if (kind === "VP8L") {
      const bits = view.getUint32(21, true);
      return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
    }
    const three = (at) => bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
    return [three(24) + 1, three(27) + 1];
  }
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return null;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return [view.getUint16(at + 7), view.getUint16(at + 5)];
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  return [0, 0]; // a JPEG whose size lies behind a very long head; the decoder will find out
}

function refusal(bytes) {
  if (!bytes.length) return "This file is empty; choose a PNG, JPEG or WebP picture.";
  const head = String.fromCharCode(...bytes.subarray(0, 64));
  const known = OTHERS.find(([magic, at]) => head.startsWith(magic, at));
  return known
    ? `This is ${known[2]} file; save it as PNG, JPEG or WebP and try again.`
    : "This file cannot be read as a picture; choose a PNG, JPEG or WebP picture.";
}

/**
 * A file as a source: { blob, bitmap, width, height }, upright as its EXIF says.
 * `limits`: { pixels, bytes }. Throws an Error whose message is a sentence for the artist.
 */
export async function readSource(blob, limits) {
  const head = new Uint8Array(await blob.slice(0, 2 ** 19).arrayBuffer());
  const size = sizeOf(head);
  if (!size) throw new Error(refusal(head));
  checkSize(size, limits);
  if (blob.size > limits.bytes) {
    throw new Error(`This file has ${Math.ceil(blob.size / 2 ** 20)} MB; save it as JPEG or WebP with at most ${Math.floor(limits.bytes / 2 ** 20)} MB.`);
  }
  // Out of the file: one that is moved or changed on the disk can no longer be read.
  const kept = new Blob([await blob.arrayBuffer()], { type: TYPES[head[0]] });
  const bitmap = await createImageBitmap(kept, { imageOrientation: "from-image" }).catch(() => {
    throw new Error("This picture is damaged or cut off; open it in another program and save it anew.");
  });
  const { width, height } = bitmap;
  try {
    checkSize([width, height], limits);
  } catch (refused) {
    bitmap.close();
    throw refused;
  }
  return { blob: kept, bitmap, width, height };
}

/** A source scaled into the middle of a page of `width` × `height`. */
export async function onPage({ bitmap }, { width, height }) {
  const page = new OffscreenCanvas(width, height);
  const context = page.getContext("2d");
  const scale = Math.min(width / bitmap.width, height / bitmap.height);
  const [across, down] = [bitmap.width * scale, bitmap.height * scale];
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, (width - across) / 2, (height - down) / 2, across, down);
  bitmap.close();
  return { blob: await page.convertToBlob({ type: "image/png" }), bitmap: await createImageBitmap(page), width, height };
}

function checkSize([width, height], limits) {
  if (width * height > limits.pixels) {
    throw new Error(`This picture is ${width}×${height} pixels; scale it down to at most ${Number((limits.pixels / 1e6).toPrecision(3))} million pixels.`);
  }
  if (width && Math.min(width, height) < limits.side) {
    throw new Error(`This picture is only ${width}×${height} pixels; choose one with at least ${limits.side} on each side.`);
  }
}

/** A picture's address → Blob; only from this studio, since other hosts would not allow it. */
export async function fetchPicture(address) {
  let answer = null;
  try {
    answer = await fetch(address);
  } catch {
    throw new Error("That picture cannot be fetched from here; save it to a file and drop the file.");
  }
  if (!answer.ok) throw new Error("That picture is not there any more.");
  return answer.blob();
}

/** What a drop or a paste brings: a File, the address of a picture of this studio, or null. */
export function brought(transfer) {
  const file = [...(transfer?.files ?? [])][0];
  if (file) return file;
  const address = transfer?.getData("text/uri-list")?.split("\n").find((line) => line && !line.startsWith("#"));
  if (!address) return null;
  return URL.canParse(address) && (new URL(address).origin === location.origin || /^(data|blob):/.test(address)) ? address : null;
}
