// The pose editor: people on a black page, their joints moved by hand, by finger or by keyboard.

import { el, iconButton, isTyping, setText } from "./dom.js";
import { ask, findPeople, readPose, writePose } from "./api.js";
import { keep, recall } from "./canvas-store.js";
import { toast } from "./notices.js";
import { bounds, isHidden, jointAt, mirrored, moved, onPage, scaled, seen, toggled, turned, withJoint } from "./pose-figure.js";
import { suggested } from "./pose-missing.js";
import { choosePreset, standing } from "./pose-presets.js";

const SVG = "http://www.w3.org/2000/svg";
const REACH = 28; // CSS pixels around a joint within which it is taken
const STEPS = 200;

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** `id` names what is traced; `figure`: { joints, limbs, colours, people }; `page()`: width and height of a new page;
 * `changed(pose)` is told. */
export function mount(holder, { id, figure, page, changed }) {
  let pose = null;
  let person = 0; // the one that is worked on
  let joint = 4;
  let missing = {}; // number → where a joint that this person lacks could be
  let done = [];
  let undone = [];
  let drag = null;
  const rgb = (i, share = 1) => `rgb(${figure.colours[i].map((part) => Math.round(part * share)).join(" ")})`;

  // The page

  const ground = svg("rect", { class: "pose-page" });
  const traced = svg("image", { class: "pose-traced", preserveAspectRatio: "xMidYMid meet" });
  const figures = svg("g");
  const drawing = svg("svg", { class: "pose-drawing", role: "group", "aria-label": "People on the page" }, ground, traced, figures);
  const place = el("div", { class: "pose-place" }, drawing);
  const told = el("p", { class: "sr-only", role: "status" });
  const problem = el("p", { class: "canvas-problem", role: "alert" });
  const finding = el("span", { class: "pose-finding", role: "status" });
  const chosenName = el("span", { class: "pose-chosen" });
  const lacks = el("span", { class: "pose-lacks", hidden: true }, "Press a dotted ring to add the joint that is missing there.");

  // What can be done

  const act = (name, label, run, attributes) => iconButton(name, label, run, attributes);
  const onPerson = (how) => () => pose.people.length && put(replaced(how(pose.people[person])));
  const undo = act("undo", "Undo", () => turn(done, undone), { "aria-keyshortcuts": "Control+Z" });
  const redo = act("redo", "Redo", () => turn(undone, done), { "aria-keyshortcuts": "Control+Shift+Z" });
  const add = act("person", "Another person", addPerson);
  const remove = act("trash", "Remove this person", removePerson);
  const hide = act("eye", "Show or hide this joint", () => toggle(), { "aria-keyshortcuts": "H" });
  const ofPerson = [
    act("mirror", "Mirror this person", onPerson(mirrored)),
    act("turnLeft", "Turn to the left", onPerson((who) => turned(who, -10))),
    act("turnRight", "Turn to the right", onPerson((who) => turned(who, 10))),
    act("minus", "Smaller", onPerson((who) => scaled(who, 1 / 1.1))),
    act("plus", "Larger", onPerson((who) => scaled(who, 1.1))),
  ];
  const presets = el("button", { type: "button", class: "tool with-text", onclick: pick }, "Poses");
  const open = el("button", { type: "button", class: "tool with-text", onclick: () => file.click() }, "Open");
  const save = el("button", { type: "button", class: "tool with-text", onclick: exported }, "Save");
  const trace = act("picture", "A picture to trace", () => choosePicture(false));
  const finder = act("find", "Find the people in a picture", () => (photo ? find() : choosePicture(true)));
  const opacity = el("input", { type: "range", min: "0", max: "1", step: "0.05", value: "0.5", "aria-label": "Traced picture", class: "pose-opacity", oninput: () => traced.setAttribute("opacity", opacity.value), onchange: () => keepTraced(), hidden: true });
  const file = el("input", { type: "file", accept: "application/json,.json", hidden: true, "aria-label": "OpenPose JSON file", onchange: imported });
  const picture = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp", hidden: true, "aria-label": "Picture file to trace", onchange: retraced });
  const rule = () => el("span", { class: "canvas-rule", "aria-hidden": "true" });
  const bar = el("div", { class: "canvas-bar", role: "toolbar", "aria-label": "Pose tools" }, presets, rule(), undo, redo, rule(), add, remove, hide, rule(), ...ofPerson, el("span", { class: "canvas-push" }), opacity, trace, finder, open, save);
  const element = el("section", { class: "pose", "aria-label": "Pose" }, bar, place, el("div", { class: "pose-foot" }, chosenName, finding, lacks, el("span", { class: "quiet" }, "Drag a joint, or what lies between to move the person. Tab and the arrow keys do too.")), problem, told, file, picture);
  holder.replaceChildren(element);

  // Changes

  const replaced = (who) => ({ ...pose, people: pose.people.map((old, i) => (i === person ? who : old)) });

  /** The pose becomes `next`, as one step. */
  function put(next) {
    done.push(pose);
    if (done.length > STEPS) done.shift();
    undone = [];
    draw(next);
    changed(pose);
  }

  function turn(from, to) {
    const before = from.pop();
    if (!before) return;
    to.push(pose);
    draw(before);
    changed(pose);
    setText(told, from === done ? "Undone." : "Done again.");
  }

  /** What is missing counts as hidden where it is suggested. */
  function toggle() {
    put(replaced(toggled(pose.people[person], joint, missing[joint])));
    setText(told, labelOf(person, joint));
  }

  function addPerson() {
    if (pose.people.length >= figure.people) return complain(`A picture can have at most ${figure.people} people.`);
    const who = onPage(standing(), [pose.width, pose.height]).people[0];
    const [left, , right] = bounds(who);
    const shift = ((pose.people.length % 3) - 1) * (right - left) * 1.2;
    person = pose.people.length;
    put({ ...pose, people: [...pose.people, moved(who, pose.people.length ? shift || right - left : 0, 0)] });
  }

  function removePerson() {
    if (!pose.people.length) return;
    const gone = person;
    person = Math.max(0, person - 1);
    put({ ...pose, people: pose.people.filter((_, i) => i !== gone) });
  }

  async function pick() {
    const preset = await choosePreset().catch((refused) => complain(refused.message));
    if (!preset) return;
    complain("");
    person = 0;
    put(onPage(preset, page()));
  }

  async function imported() {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    try {
      const next = await readPose(chosen, pose.width, pose.height);
      complain("");
      person = 0;
      put(next);
    } catch (refused) {
      complain(refused.message);
    }
  }

  async function exported() {
    const text = JSON.stringify(await writePose(seen(pose)));
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: "pose.json" });
    link.click();
    URL.revokeObjectURL(link.href);
    toast("The pose is saved as OpenPose JSON.");
  }

  // The picture that is traced

  let photo = null;
  let toFind = false; // people are looked for as soon as it is there

  function choosePicture(then) {
    toFind = then;
    picture.click();
  }

  function retraced() {
    const [chosen] = picture.files;
    picture.value = "";
    if (!chosen) return;
    underlay(chosen);
    keepTraced();
    if (toFind) find();
  }

  function underlay(blob) {
    photo = blob;
    URL.revokeObjectURL(traced.getAttribute("href"));
    if (blob) traced.setAttribute("href", URL.createObjectURL(blob));
    else traced.removeAttribute("href");
    traced.setAttribute("opacity", opacity.value);
    opacity.hidden = !blob;
  }

  /** A browser that keeps nothing still traces. */
  const keepTraced = () => keep(id, photo && { photo, opacity: opacity.value }).catch(() => {});

  async function find() {
    finder.disabled = true;
    complain("");
    setText(finding, "Looking for people …");
    try {
      const row = (await ask("GET", "/annotators")).find(({ key }) => key === "openpose");
      if (row?.missing) setText(finding, row.missing);
      const found = await findPeople(photo);
      person = 0;
      put(onPage(found, page()));
      setText(told, found.people.length === 1 ? "One person was found." : `${found.people.length} people were found.`);
    } catch (refused) {
      complain(refused.message);
    }
    setText(finding, "");
    finder.disabled = false;
  }

  const complain = (sentence) => setText(problem, sentence);

  // Hands

  /** CSS pixels of the screen for one of the page. */
  const scale = () => drawing.getBoundingClientRect().width / pose.width || 1;

  function pointed({ clientX, clientY }) {
    const box = drawing.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * pose.width, ((clientY - box.top) / box.height) * pose.height];
  }

  const isMissing = (p, j) => !jointAt(pose.people[p], j);
  const placeOf = (p, j) => jointAt(pose.people[p], j) ?? (p === person ? (missing[j] ?? null) : null);

  /** The joint nearest to a point of the page, of the person in front first, those that are missing last. */
  function nearest([x, y]) {
    const all = pose.people.flatMap((who, p) => who.body.map((_, j) => ({ p, j, at: placeOf(p, j) })).filter(({ at }) => at));
    const far = ({ p, j, at }) => Math.hypot(at[0] - x, at[1] - y) + (p === person ? 0 : 2) + (isMissing(p, j) ? 6 / scale() : 0);
    const [first] = all.sort((one, other) => far(one) - far(other));
    return first && far(first) * scale() <= REACH ? first : null;
  }

  drawing.addEventListener("pointerdown", (event) => {
    if (event.button || drag) return;
    const at = pointed(event);
    const hit = nearest(at);
    const within = ([left, top, right, bottom]) => at[0] >= left && at[0] <= right && at[1] >= top && at[1] <= bottom;
    const whole = hit ? hit.p : pose.people.findLastIndex((who) => within(bounds(who)));
    if (whole < 0) return;
    event.preventDefault();
    drawing.setPointerCapture(event.pointerId);
    person = whole;
    if (hit) joint = hit.j;
    drag = { id: event.pointerId, from: at, joint: hit && !event.shiftKey ? hit : null, before: pose };
    draw(pose);
    if (hit) focusJoint();
  });
  drawing.addEventListener("pointermove", (event) => {
    if (drag?.id !== event.pointerId) return;
    const at = pointed(event);
    const [dx, dy] = [at[0] - drag.from[0], at[1] - drag.from[1]];
    const who = drag.before.people[person];
    const next = drag.joint ? withJoint(who, joint, kept([drag.joint.at[0] + dx, drag.joint.at[1] + dy])) : moved(who, dx, dy);
    draw({ ...drag.before, people: drag.before.people.map((old, i) => (i === person ? next : old)) });
  });
  for (const name of ["pointerup", "pointercancel"]) {
    drawing.addEventListener(name, (event) => {
      if (drag?.id !== event.pointerId) return;
      const { before, joint: held } = drag;
      drag = null;
      if (pose === before && held && isMissing(person, joint) && name === "pointerup") return toggle(), focusJoint();
      if (pose === before || JSON.stringify(pose) === JSON.stringify(before)) return;
      const after = pose;
      pose = before;
      put(after);
    });
  }

  /** A single joint stays on the page; whole people may reach beyond it. */
  const kept = ([x, y]) => [Math.min(pose.width, Math.max(0, x)), Math.min(pose.height, Math.max(0, y))];

  // Keys

  drawing.addEventListener("focusin", ({ target }) => {
    const mark = target.closest(".pose-joint");
    if (!mark) return;
    [person, joint] = [Number(mark.dataset.person), Number(mark.dataset.joint)];
    draw(pose);
  });
  drawing.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !event.target.closest(".pose-joint")) return;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const who = pose.people[person];
    const lacking = isHidden(who, joint);
    if (way) {
      const by = (event.shiftKey ? 5 : 1) * Math.max(1, Math.round(pose.width / 128));
      const [x, y] = placeOf(person, joint);
      put(replaced(withJoint(who, joint, kept([x + way[0] * by, y + way[1] * by]))));
      setText(told, spoken());
    } else if (event.key.toLowerCase() === "h" || (lacking ? ["Enter", " "].includes(event.key) : event.key === "Delete")) toggle();
    else return;
    event.preventDefault();
    event.stopPropagation();
    focusJoint();
  });
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || isTyping(event.target) || !element.checkVisibility() || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if (key === "z" && !event.shiftKey) turn(done, undone);
    else if (key === "y" || key === "z") turn(undone, done);
    else return;
    event.preventDefault();
  });

  const focusJoint = () => drawing.querySelector(`[data-person="${person}"][data-joint="${joint}"]`)?.focus({ preventScroll: true });
  const nameOf = (p, j) => `${figure.joints[j]}${pose.people.length > 1 ? ` of person ${p + 1}` : ""}`;

  /** "Right wrist, hidden" */
  const labelOf = (p, j) => `${nameOf(p, j)}${isMissing(p, j) ? ", missing" : isHidden(pose.people[p], j) ? ", hidden" : ""}`;

  function spoken() {
    const at = jointAt(pose.people[person], joint);
    return `${nameOf(person, joint)}, ${at.map(Math.round).join(", ")}`;
  }

  // Seeing

  function draw(next) {
    pose = next;
    person = Math.max(0, Math.min(person, pose.people.length - 1));
    const { width, height } = pose;
    missing = pose.people.length ? suggested(pose.people[person], figure.limbs, [width, height]) : {};
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    place.style.setProperty("--w", width);
    place.style.setProperty("--h", height);
    for (const part of [ground, traced]) for (const [name, value] of [["width", width], ["height", height]]) part.setAttribute(name, value); // prettier-ignore
    while (figures.children.length > pose.people.length) figures.lastChild.remove();
    pose.people.forEach((who, p) => {
      if (!figures.children[p]) figures.append(build(p));
      arrange(figures.children[p], who, p);
    });
    chosen();
  }

  function build(p) {
    const limbs = figure.limbs.map((_, i) => svg("line", { class: "pose-limb", stroke: rgb(i, 0.6) }));
    const joints = figure.joints.map((_, j) => svg("g", { class: "pose-joint", tabindex: "0", role: "button", "data-person": p, "data-joint": j }, svg("circle", { class: "pose-target" }), svg("circle", { class: "pose-dot", fill: rgb(j) }), svg("title")));
    return svg("g", {}, svg("g", {}, ...limbs), svg("path", { class: "pose-details" }), svg("g", {}, ...joints));
  }

  function arrange(group, who, p) {
    const [limbs, details, joints] = group.children;
    const dot = Math.max(4, 5 / scale());
    figure.limbs.forEach(([one, other], i) => {
      const [from, to] = [jointAt(who, one), jointAt(who, other)];
      const shown = from && to && !isHidden(who, one) && !isHidden(who, other);
      limbs.children[i].toggleAttribute("data-gone", !shown);
      if (shown) for (const [name, value] of [["x1", from[0]], ["y1", from[1]], ["x2", to[0]], ["y2", to[1]]]) limbs.children[i].setAttribute(name, value); // prettier-ignore
    });
    const points = [...(who.left_hand ?? []), ...(who.right_hand ?? []), ...(who.face ?? [])].filter(Boolean);
    details.setAttribute("d", points.map(([x, y]) => `M${x} ${y}h.01`).join(""));
    figure.joints.forEach((_, j) => {
      const at = placeOf(p, j);
      const mark = joints.children[j];
      mark.toggleAttribute("data-gone", !at);
      mark.toggleAttribute("data-hidden", Boolean(at) && isHidden(who, j));
      mark.toggleAttribute("data-missing", isMissing(p, j));
      if (!at) return;
      mark.setAttribute("transform", `translate(${at[0]} ${at[1]})`);
      mark.setAttribute("aria-label", labelOf(p, j));
      mark.children[0].setAttribute("r", 22 / scale());
      mark.children[1].setAttribute("r", dot);
      setText(mark.children[2], isMissing(p, j) ? `Add the ${nameOf(p, j)}` : "");
    });
  }

  function chosen() {
    const who = pose.people[person];
    for (const mark of figures.querySelectorAll(".pose-joint")) mark.toggleAttribute("data-chosen", Number(mark.dataset.person) === person && Number(mark.dataset.joint) === joint);
    setText(chosenName, who ? labelOf(person, joint) : "Nobody is here yet");
    hide.setAttribute("aria-pressed", String(Boolean(who) && !isHidden(who, joint)));
    lacks.hidden = !Object.keys(missing).length;
    undo.disabled = !done.length;
    redo.disabled = !undone.length;
    for (const button of [remove, hide, ...ofPerson]) button.disabled = !who;
    hide.disabled ||= !placeOf(person, joint);
  }

  new ResizeObserver(() => pose && draw(pose)).observe(place);
  let recalling = true;
  recall(id).then((last) => {
    if (!last || photo || !recalling) return;
    opacity.value = last.opacity;
    underlay(last.photo);
  }, () => {}); // prettier-ignore
  return {
    /** Nothing is traced any more. */
    untrace() {
      recalling = false;
      underlay(null);
      keepTraced();
    },
    /** The pose of the guide in front; null: a first person on a new page. */
    show(given) {
      if (drag || (given && given === pose)) return;
      if (given) draw(given);
      else {
        draw(onPage(standing(), page()));
        changed(pose);
      }
    },
  };
}
