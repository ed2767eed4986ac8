// Finding words by how they, or the words within them, begin: fast among hundreds of thousands.

const SHORT = 3; // letters up to which the best answers are known beforehand
const KEPT = 40; // of those
const LOOKED_AT = 400; // entries that one search looks at, at most

/** Where a word begins. */
function* starts(text) {
  yield 0;
  for (let at = 1; at < text.length; at++) if (/[\s\-_/(]/.test(text[at - 1]) && !/[\s\-_/(]/.test(text[at])) yield at;
}

const compare = (one, other) => (one < other ? -1 : Number(one > other));

/** `entries`: { text, … }, the most wanted first. */
export function indexed(entries) {
  const keys = []; // [beginning, number of the entry, whether it is the entry's own]
  const best = new Map(); // a few letters → numbers of entries
  entries.forEach(({ text }, number) => {
    const small = text.toLowerCase();
    for (const at of starts(small)) {
      keys.push([at ? small.slice(at) : small, number, at === 0]);
      for (let length = 1; length <= SHORT; length++) {
        const letters = small.slice(at, at + length);
        if (letters.length < length) break;
        const known = best.get(letters);
        if (!known) best.set(letters, [number]);
        else if (known.length < KEPT && known.at(-1) !== number) known.push(number);
      }
    }
  });
  keys.sort(([one], [other]) => compare(one, other));
  return { entries, keys, best };
}

/** The entries that begin with `typed`, or have a word that does: { found, compared }, the best first. */
export function search({ entries, keys, best }, typed, limit = 10) {
  const wanted = typed.toLowerCase();
  let compared = 0;
  const numbers = new Map(); // number of an entry → whether it begins so itself
  if (wanted.length <= SHORT) {
    for (const number of best.get(wanted) ?? []) numbers.set(number, entries[number].text.toLowerCase().startsWith(wanted));
    compared = numbers.size;
  } else {
    let [low, high] = [0, keys.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      compared++;
      if (keys[middle][0] < wanted) low = middle + 1;
      else high = middle;
    }
    for (let at = low; at < keys.length && at < low + LOOKED_AT; at++) {
      compared++;
      const [key, number, own] = keys[at];
      if (!key.startsWith(wanted)) break;
      numbers.set(number, own || numbers.get(number) === true);
    }
  }
  const found = [...numbers].sort(([one, own], [other, its]) => its - own || one - other).slice(0, limit);
  return { found: found.map(([number]) => entries[number]), compared };
}
