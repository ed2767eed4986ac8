// What has changed between two texts, word by word.

const MOST = 1500; // words; beyond, all of it counts as changed

/** Pieces in order: { kind: "same" | "gone" | "new", text }. */
export function diff(before, after) {
  const [one, other] = [before, after].map((text) => text.match(/\s+|[^\s,.;:()]+|[,.;:()]/g) ?? []);
  if (one.length > MOST || other.length > MOST) return joined([["gone", before], ["new", after]]);
  // The longest common sequence, from the end, so that it is read off from the beginning.
  const width = other.length + 1;
  const lengths = new Uint16Array((one.length + 1) * width);
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = other.length - 1; j >= 0; j--) {
      lengths[i * width + j] = one[i] === other[j] ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  const pieces = [];
  let [i, j] = [0, 0];
  while (i < one.length || j < other.length) {
    if (i < one.length && j < other.length && one[i] === other[j]) {
      pieces.push(["same", one[i++]]);
      j++;
    } else if (j >= other.length || (i < one.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) pieces.push(["gone", one[i++]]);
    else pieces.push(["new", other[j++]]);
  }
  return joined(pieces);
}

function joined(pieces) {
  const whole = [];
  for (const [kind, text] of pieces) {
    if (whole.at(-1)?.kind === kind) whole.at(-1).text += text;
    else if (text) whole.push({ kind, text });
  }
  return whole;
}
