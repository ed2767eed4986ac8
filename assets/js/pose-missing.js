// Joints that nobody has placed yet: where somebody upright, brought to the size and the turn of this person, has them.

import { jointAt, onPage } from "./pose-figure.js";
import { standing } from "./pose-presets.js";

const NECK = 1;
/** The ends of arms and legs, and the limb that each goes on from. */
const ONWARDS = { 4: [2, 3], 7: [5, 6], 10: [8, 9], 13: [11, 12] };
const EDGE = 0.02; // of the page, within which nothing is suggested

// Points as complex numbers, so that to turn and to scale is one product.
const minus = ([ax, ay], [bx, by]) => [ax - bx, ay - by];
const times = ([ax, ay], [bx, by]) => [ax * bx - ay * by, ax * by + ay * bx];
const conjugate = ([x, y]) => [x, -y];
const mean = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);

/** The turn and scale, in least squares, that takes points to others, both around their middles. */
function fitted(from, to) {
  const [here, there] = [mean(from), mean(to)];
  const parts = from.map((point, i) => times(minus(to[i], there), conjugate(minus(point, here))));
  const length = from.reduce((sum, point) => sum + Math.hypot(...minus(point, here)) ** 2, 0);
  return length ? mean(parts).map((part) => (part * parts.length) / length) : [1, 0];
}

/** Number → [x, y] of each joint that `person` lacks beside one that is there; of nobody the neck. Hidden joints are
 * there. `limbs`: pairs of joints; `page`: width and height, within which they lie. */
export function suggested(person, limbs, page) {
  const upright = onPage(standing(), page).people[0].body;
  const there = upright.map((_, i) => jointAt(person, i));
  const known = upright.map((_, i) => i).filter((i) => there[i]);
  if (!known.length) return { [NECK]: upright[NECK] };
  const fits = [upright, upright.map(conjugate)].map((figure) => ({ figure, by: fitted(known.map((i) => figure[i]), known.map((i) => there[i])) })); // prettier-ignore
  const [front, back] = fits;
  const { figure, by } = Math.hypot(...back.by) > Math.hypot(...front.by) * 1.01 ? back : front; // seen from behind
  const along = (i) => {
    const [from, to] = ONWARDS[i] ?? [];
    if (!there[from] || !there[to]) return by;
    const turn = times(minus(there[to], there[from]), conjugate(minus(figure[to], figure[from])));
    return turn.map((part) => (part / (Math.hypot(...turn) || 1)) * Math.hypot(...by));
  };
  const kept = (at) => at.map((value, axis) => Math.min(page[axis] * (1 - EDGE), Math.max(page[axis] * EDGE, value)));
  const places = {};
  there.forEach((at, i) => {
    const beside = limbs.filter((limb) => limb.includes(i)).map(([one, other]) => (one === i ? other : one)).filter((n) => there[n]); // prettier-ignore
    if (at || !beside.length) return;
    places[i] = kept(mean(beside.map((n) => minus(there[n], times(along(i), minus(figure[n], figure[i]))))));
  });
  return places;
}
