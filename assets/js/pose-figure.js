// People as joints, without a page: how they move, turn, grow and are mirrored. A joint is [x, y] or null; those that
// are hidden wait in `aside`, number → [x, y].

const PARTS = ["body", "left_hand", "right_hand", "face"];
/** Joints of the body that change sides in a mirror. */
const SIDES = [[2, 5], [3, 6], [4, 7], [8, 11], [9, 12], [10, 13], [14, 15], [16, 17]]; // prettier-ignore

/** A person whose joints, hands and face are all where `place([x, y])` puts them. */
export function mapped(person, place) {
  const parts = Object.fromEntries(PARTS.map((part) => [part, (person[part] ?? []).map((joint) => joint && place(joint))]));
  const aside = Object.fromEntries(Object.entries(person.aside ?? {}).map(([joint, at]) => [joint, place(at)]));
  return { ...parts, aside };
}

/** Where joint `i` is, also when it is hidden. */
export const jointAt = ({ body, aside }, i) => body[i] ?? aside?.[i] ?? null;

export const isHidden = ({ body }, i) => body[i] === null;

/** A person with joint `i` elsewhere; one that was nowhere is seen from now on. */
export function withJoint(person, i, at) {
  if (isHidden(person, i) && jointAt(person, i)) return { ...person, aside: { ...person.aside, [i]: at } };
  return { ...person, body: person.body.map((joint, n) => (n === i ? at : joint)) };
}

/** Hidden becomes seen, seen becomes hidden; what is nowhere is seen at `suggestion`. */
export function toggled(person, i, suggestion) {
  const { [i]: at = suggestion, ...others } = person.aside ?? {};
  if (isHidden(person, i)) return at ? { ...person, aside: others, body: person.body.map((joint, n) => (n === i ? at : joint)) } : person;
  return { ...person, aside: { ...others, [i]: person.body[i] }, body: person.body.map((joint, n) => (n === i ? null : joint)) };
}

/** Left, top, right and bottom of the body's joints; of a person without any, of hands and face. */
export function bounds(person) {
  const body = person.body.map((_, i) => jointAt(person, i)).filter(Boolean);
  const seen = body.length ? body : PARTS.flatMap((part) => person[part] ?? []).filter(Boolean);
  const [xs, ys] = [0, 1].map((axis) => seen.map((joint) => joint[axis]));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function middle(person) {
  const [left, top, right, bottom] = bounds(person);
  return [(left + right) / 2, (top + bottom) / 2];
}

export const moved = (person, dx, dy) => mapped(person, ([x, y]) => [x + dx, y + dy]);

/** Around the middle, clockwise. */
export function turned(person, degrees) {
  const [cx, cy] = middle(person);
  const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  return mapped(person, ([x, y]) => [cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos]);
}

export function scaled(person, factor) {
  const [cx, cy] = middle(person);
  return mapped(person, ([x, y]) => [cx + (x - cx) * factor, cy + (y - cy) * factor]);
}

/** As in a mirror: what was the right hand is now the left one. */
export function mirrored(person) {
  const [cx] = middle(person);
  const turned = mapped(person, ([x, y]) => [2 * cx - x, y]);
  const body = [...turned.body];
  const aside = { ...turned.aside };
  for (const [one, other] of SIDES) {
    [body[one], body[other]] = [body[other], body[one]];
    const [a, b] = [aside[one], aside[other]];
    delete aside[one];
    delete aside[other];
    if (a) aside[other] = a;
    if (b) aside[one] = b;
  }
  return { ...turned, body, aside, left_hand: turned.right_hand, right_hand: turned.left_hand };
}

/** A pose brought into the middle of a page of another size, as large as fits. */
export function onPage({ people, width, height }, [across, down]) {
  const scale = Math.min(across / width, down / height);
  const [left, top] = [(across - width * scale) / 2, (down - height * scale) / 2];
  return { width: across, height: down, people: people.map((person) => mapped(person, ([x, y]) => [left + x * scale, top + y * scale])) };
}

/** The pose as the studio takes it: what is hidden, or lies beside the page, is not there. */
export function seen({ people, width, height }) {
  const inside = (joint) => (joint && joint[0] >= 0 && joint[1] >= 0 && joint[0] <= width && joint[1] <= height ? joint : null);
  const persons = people.map((person) => Object.fromEntries(PARTS.map((part) => [part, (person[part] ?? []).map(inside)])));
  return { width, height, people: persons.filter(({ body }) => body.some(Boolean)) };
}
