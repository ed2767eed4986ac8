// A PNG of our own making: 8 bits, grey or RGBA, exactly the layer's values. Browsers' own encoders know no grey.

const CRC = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc(...parts) {
  let sum = 0xffffffff;
  for (const part of parts) for (const byte of part) sum = CRC[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}

function chunk(name, ...parts) {
  const kind = new TextEncoder().encode(name);
  const frame = new DataView(new ArrayBuffer(8));
  frame.setUint32(0, parts.reduce((size, part) => size + part.length, 0));
  frame.setUint32(4, crc(kind, ...parts));
  const bytes = new Uint8Array(frame.buffer);
  return [bytes.slice(0, 4), kind, ...parts, bytes.slice(4)];
}

/** The rows of a band, each with the filter byte 0 before it. */
function lines(band, width, pixel) {
  const bytes = new Uint8Array(band.buffer);
  const stride = width * pixel;
  const height = bytes.length / stride;
  const out = new Uint8Array(height * (stride + 1));
  for (let y = 0; y < height; y++) out.set(bytes.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
  return out;
}

/** Layer → Blob */
export async function png(layer) {
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, layer.width);
  head.setUint32(4, layer.height);
  head.setUint8(8, 8);
  head.setUint8(9, layer.colour ? 6 : 0);
  const deflate = new CompressionStream("deflate");
  const packed = collect(deflate.readable);
  const writer = deflate.writable.getWriter();
  for (let row = 0; row < layer.rows; row++) {
    await writer.write(lines(layer.band(row), layer.width, layer.colour ? 4 : 1));
  }
  await writer.close();
  const data = await packed;
  const start = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const parts = [start, ...chunk("IHDR", new Uint8Array(head.buffer)), ...chunk("IDAT", ...data), ...chunk("IEND")];
  return new Blob(parts, { type: "image/png" });
}

async function collect(stream) {
  const parts = [];
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return parts;
    parts.push(value);
  }
}
