// Sharing the studio: a button in the bar opens a sheet with invitations, people, their browsers and the whole queue.

import { ask } from "./api.js";
import { el, fill, iconButton } from "./dom.js";
import { live, subscribe } from "./live.js";
import { toast } from "./notices.js";
import { peopleList, queueList } from "./people-lists.js";

const SCOPES = [
  ["view", "look at what is shown to them"],
  ["remix", "vary what is shown to them"],
  ["generate", "draw their own pictures"],
  ["owner", "everything, as you do"],
];
const LASTS = [
  [1, "a day"],
  [7, "a week"],
  [30, "a month"],
  ["", "until revoked"],
];
const LOOK = 3000;
let asking = false;

export async function mount() {
  watchTheDoor();
  const me = await ask("GET", "/me").catch(() => null);
  if (!me) return;
  const button = iconButton("plus", me.scope === "owner" ? "Share the studio" : `Signed in as ${me.name}`, () => open(me));
  button.id = "share";
  const bar = await header();
  bar.insertBefore(button, bar.querySelector(".tool"));
}

/** The bar is drawn by a widget of its own, which may come later. */
export function header() {
  return new Promise((found) => {
    const look = () => {
      const bar = document.querySelector("header.bar");
      if (bar) found(bar);
      else requestAnimationFrame(look);
    };
    look();
  });
}

/** Whoever was shown the door sees that door instead of a page that waits forever. */
function watchTheDoor() {
  subscribe(async () => {
    if (live.connected || asking || !live.board) return;
    asking = true;
    const refused = await ask("GET", "/me").then(() => false, (error) => error.message.startsWith("This studio is private"));
    if (refused) location.reload();
    setTimeout(() => (asking = false), LOOK);
  });
}

function open(me) {
  const body = el("div", { class: "people" });
  const sheet = el(
    "dialog",
    { class: "sheet people-sheet", "aria-label": "Share" },
    el("div", { class: "sheet-head" }, el("h2", {}, me.scope === "owner" ? "Share" : me.name), iconButton("close", "Close", () => sheet.close())),
    body,
  );
  let timer = 0;
  sheet.addEventListener("close", () => {
    clearInterval(timer);
    sheet.remove();
  });
  document.body.append(sheet);
  sheet.showModal();
  const said = el("p", { class: "people-said", role: "status" });
  /** Do it, show what went wrong, and look again. */
  const act = async (method, path, wish) => {
    try {
      const told = await ask(method, path, wish);
      said.textContent = "";
      await refresh();
      return told;
    } catch (error) {
      said.textContent = error.message;
      return null;
    }
  };
  const lists = el("div", { class: "people-lists" });
  const refresh = async () => fill(lists, ...(await told(me, act)));
  const parts = me.scope === "owner" ? [me.signed_in ? inviting(act) : atHome()] : [account(act)];
  fill(body, ...parts, said, lists);
  refresh();
  timer = setInterval(() => {
    if (!lists.contains(document.activeElement)) refresh();
  }, LOOK);
}

async function told(me, act) {
  const get = (path) => ask("GET", path).catch(() => ({ items: [], waiting: [] }));
  if (me.scope !== "owner") return peopleList({ sessions: (await get("/sessions")).items }, act);
  const [people, invitations, sessions, queue] = await Promise.all([get("/people"), get("/invitations"), get("/sessions"), get("/queue")]);
  const names = Object.fromEntries(people.items.map((person) => [person.id, person.name]));
  const guests = people.items.filter((person) => person.id !== "owner");
  return [
    ...peopleList({ people: guests, invitations: invitations.items, sessions: sessions.items }, act),
    queueList(queue, names, act),
  ];
}

function atHome() {
  return el(
    "p",
    {},
    "Nobody else can reach the studio at this address. Start it with ",
    el("code", {}, "--share"),
    " for a public link, or with ",
    el("code", {}, "--host 0.0.0.0"),
    " for your network; it then asks everybody to sign in.",
  );
}

function choice(name, label, options, chosen) {
  const list = options.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
  return el("label", {}, label, el("select", { name }, ...list));
}

function inviting(act) {
  const result = el("div", { class: "people-link" });
  const form = el(
    "form",
    { class: "people-form" },
    el("label", {}, "Name", el("input", { name: "name", required: true, maxlength: 80, placeholder: "Ann", autocomplete: "off" })),
    choice("scope", "They may", SCOPES, "generate"),
    choice("days", "For", LASTS, 7),
    el("label", { class: "people-check" }, el("input", { type: "checkbox", name: "group" }), "One link for several people"),
    el("button", { class: "tool with-text primary" }, "Make a link"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const filled = new FormData(form);
    const group = filled.has("group");
    const made = await act("POST", "/invitations", {
      name: filled.get("name"),
      scope: filled.get("scope"),
      days: filled.get("days") ? Number(filled.get("days")) : null,
      group,
      browsers: group ? null : 1,
    });
    if (made) fill(result, ...invitation(made));
  });
  return el("section", { "aria-label": "Invite" }, form, result);
}

function invitation(made) {
  const link = el("input", { readonly: true, value: made.link, "aria-label": "Link", onfocus: () => link.select() });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(made.link);
    } catch {
      link.select(); // without https the browser keeps its clipboard to itself, except for this
      document.execCommand("copy");
    }
    toast("The link is copied.");
  };
  return [
    el("img", { src: made.qr, alt: "The link as a code for a phone's camera", width: 180, height: 180 }),
    el(
      "div",
      {},
      el("p", {}, made.browsers === 1 ? `For ${made.name} alone: it opens the studio in one browser.` : `For everybody who gets it, until you revoke it.`),
      el("div", { class: "people-copy" }, link, iconButton("copy", "Copy", copy, { text: true })),
      el("p", { class: "people-hint" }, "It cannot be shown again."),
    ),
  ];
}

function account(act) {
  const form = el(
    "form",
    { class: "people-form" },
    el("label", {}, "Name", el("input", { name: "name", required: true, maxlength: 80, autocomplete: "username" })),
    el("label", {}, "Password", el("input", { name: "password", type: "password", required: true, minlength: 10, maxlength: 256, autocomplete: "new-password" })),
    el("button", { class: "tool with-text primary" }, "Come back with these"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const filled = new FormData(form);
    if (await act("POST", "/me/password", { name: filled.get("name"), password: filled.get("password") })) {
      form.reset();
      toast("From now on you can sign in with this name and password.");
    }
  });
  const leave = iconButton("close", "Sign out", async () => {
    await fetch(`${(window.gradio_config?.root ?? "").replace(/\/$/, "")}/studio/leave`, { method: "POST" }).catch(() => null);
    location.reload();
  }, { text: true });
  return el("section", {}, form, leave);
}
