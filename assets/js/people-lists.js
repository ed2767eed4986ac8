// What the owner looks after, as lists with a button or two in each row.

import { el, iconButton } from "./dom.js";

const SCOPES = { view: "looks", remix: "varies", generate: "draws", owner: "owner" };
const path = (...parts) => `/${parts.map(encodeURIComponent).join("/")}`;

function list(title, rows) {
  if (!rows.length) return null;
  return el("section", {}, el("h3", {}, title), el("ul", { class: "people-rows" }, ...rows));
}

function row(name, facts, ...buttons) {
  return el("li", {}, el("strong", {}, name), el("span", {}, facts.filter(Boolean).join(" · ")), ...buttons);
}

const when = (iso) => new Date(iso).toLocaleDateString(undefined, { day: "numeric", month: "short" });

export function peopleList({ people = [], invitations = [], sessions = [] }, act) {
  return [
    list(
      "People",
      people.map((person) =>
        row(
          person.name,
          [SCOPES[person.scope], person.signed_in ? "signed in" : "", person.pictures ? `${person.pictures} picture${person.pictures > 1 ? "s" : ""}` : ""],
          iconButton("close", "Revoke", () => act("POST", path("people", person.id, "revoke")), {
            text: true,
            "aria-label": `Revoke ${person.name}`,
          }),
        ),
      ),
    ),
    list(
      "Links",
      invitations
        .filter((one) => !one.revoked)
        .map((one) =>
          row(
            one.name,
            [
              SCOPES[one.scope],
              one.browsers === null ? `used ${one.used} time${one.used === 1 ? "" : "s"}` : `used ${one.used} of ${one.browsers}`,
              one.expires ? `until ${when(one.expires)}` : "",
            ],
            iconButton("close", `Revoke the link for ${one.name}`, () => act("POST", path("invitations", one.id, "revoke"))),
          ),
        ),
    ),
    list(
      "Browsers",
      sessions.map((one) =>
        row(
          one.name,
          [browser(one.browser), one.here ? "this one" : `seen ${when(one.seen)}`],
          one.here ? null : iconButton("close", `Sign out this browser of ${one.name}`, () => act("POST", path("sessions", one.id, "end"))),
        ),
      ),
    ),
  ].filter(Boolean);
}

export function queueList(queue, names, act) {
  const pause = iconButton(queue.paused ? "play" : "pause", queue.paused ? "Go on" : "Pause", () => act("POST", "/queue/pause", { on: !queue.paused }), { text: true });
  const clear = iconButton("trash", "Clear", () => act("POST", "/queue/clear", {}), { text: true, disabled: !queue.waiting.length });
  const order = queue.waiting.map((job) => job.id);
  const rows = queue.waiting.slice(0, 50).map((job, place) =>
    row(
      names[job.owner] ?? job.owner,
      [job.prompt.slice(0, 80), job.count > 1 ? `${job.drawn} of ${job.count}` : ""],
      place ? iconButton("restore", "Draw this next", () => act("POST", "/queue/order", { jobs: [job.id, ...order.slice(0, place)] })) : null,
      iconButton("close", "Cancel this job", () => act("POST", path("jobs", job.id, "cancel"))),
    ),
  );
  const state = queue.paused ? "The queue is paused." : queue.running ? "One is being drawn." : "Nothing is being drawn.";
  return el(
    "section",
    {},
    el("h3", {}, "Queue"),
    el("div", { class: "people-copy" }, el("span", {}, `${state} ${queue.waiting.length} waiting.`), pause, clear),
    el("ul", { class: "people-rows" }, ...rows),
  );
}

/** "Firefox on Windows" is all one wants of what a browser says of itself. */
function browser(told) {
  const name = ["Edg", "OPR", "Firefox", "Chrome", "Safari"].find((word) => told.includes(word)) ?? "A program";
  const system = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux"].find((word) => told.includes(word));
  return [{ Edg: "Edge", OPR: "Opera" }[name] ?? name, system && `on ${system}`].filter(Boolean).join(" ");
}
