// The Settings sheet: how pictures are marked and what any picture says of itself, the safety check, tidying up, privacy.

import { ask } from "./api.js";
import { el, fill, iconButton, size } from "./dom.js";
import { header } from "./people.js";
import { verifying } from "./verify.js";

const DAYS = [
  ["", "never"],
  [7, "after a week"],
  [30, "after a month"],
  [90, "after three months"],
  [365, "after a year"],
];
const CHECKED = [
  ["guests", "of guests"],
  ["everyone", "of everyone"],
  ["nobody", "of nobody"],
];

export async function mount() {
  const me = await ask("GET", "/me").catch(() => null);
  if (!me) return;
  const button = iconButton("shield", "Settings and checks", () => open(me.scope === "owner"));
  button.id = "studio-settings";
  const bar = await header();
  bar.insertBefore(button, bar.lastElementChild);
}

async function open(owner) {
  const said = el("p", { class: "people-said", role: "status" });
  const place = el("div", { class: "settings-parts" });
  const close = () => sheet.close();
  const sheet = el(
    "dialog",
    { class: "sheet settings-sheet", "aria-labelledby": "settings-title", onclose: () => sheet.remove() },
    el("div", { class: "sheet-head" }, el("h2", { id: "settings-title" }, "Settings and checks"), iconButton("close", "Close", close)),
    verifying(),
    said,
    place,
  );
  document.body.append(sheet);
  sheet.showModal();
  try {
    await draw();
  } catch (error) {
    said.textContent = error.message;
  }

  async function draw() {
    const { checker, ...rules } = await ask("GET", "/rules");
    const upkeep = owner ? await ask("GET", "/upkeep") : null;
    /** Decide one thing; what is said stays right when it is refused. */
    const decide = async (name, value) => {
      try {
        await ask("POST", "/rules", { [name]: value });
        said.textContent = "";
      } catch (error) {
        said.textContent = error.message;
      }
      await draw();
      sheet.querySelector(`[name="${name}"]`)?.focus();
    };
    const rule = { rules, decide, owner };
    fill(place, marks(rule), safety(rule, checker), owner ? tidying(rule, upkeep, act) : kept(rules), privacy());
  }

  async function act(path) {
    try {
      const done = await ask("POST", path);
      await draw();
      said.textContent = `${done.trash} moved to the trash, ${done.delete} deleted.`;
    } catch (error) {
      said.textContent = error.message;
    }
  }
}

function part(title, ...content) {
  return el("section", { class: "settings-part" }, el("h3", {}, title), ...content);
}

function tick({ rules, decide, owner }, name, title, about) {
  const box = el("input", { type: "checkbox", name, checked: rules[name], disabled: !owner, onchange: () => decide(name, box.checked) });
  return el("div", { class: "settings-rule" }, el("label", {}, box, el("span", {}, title)), el("p", { class: "quiet" }, about));
}

function choice({ rules, decide }, name, title, options, about) {
  const chosen = String(rules[name] ?? "");
  const known = options.some(([value]) => String(value) === chosen) ? options : [...options, [chosen, `after ${chosen} days`]];
  const list = el("select", { name, onchange: () => decide(name, options === DAYS ? (list.value ? Number(list.value) : null) : list.value) }, ...known.map(([value, text]) => el("option", { value, selected: String(value) === chosen }, text)));
  return el("div", { class: "settings-rule" }, el("label", { class: "settings-choice" }, el("span", {}, title), list), about && el("p", { class: "quiet" }, about));
}

function marks(rule) {
  return part(
    "Saved pictures say that a model drew them",
    tick(rule, "credentials", "Content credentials (C2PA)", "A signed note in the file: drawn by a model, which one, under which licence, and whether over another picture. No prompt. The key was made on this machine and never leaves it, so other programs call the signer unknown. Saving the file elsewhere can take the note away."),
    tick(rule, "watermark", "Invisible watermark", "A faint pattern that survives JPEG, cutting and scaling. Outside a mask, and in the source of new margins, every pixel stays as it was. It says only that a Pochade drew this; somebody determined can remove it."),
  );
}

function safety(rule, checker) {
  const about = "Whatever it finds is held back before anybody sees or keeps it, previews included.";
  const none = "No safety checker is installed, so nothing is checked. It comes with many Stable Diffusion 1.x models as their folder safety_checker; put one into a model folder and start the studio again.";
  const who = CHECKED.find(([value]) => value === rule.rules.check)[1];
  return part(
    "Safety check",
    rule.owner ? choice(rule, "check", "Check the pictures", CHECKED) : el("p", {}, `The pictures ${who} are checked.`),
    el("p", { class: checker ? "quiet" : "settings-missing" }, checker ? about : none),
  );
}

function tidying(rule, upkeep, act) {
  const due = [upkeep.trash && `${upkeep.trash} to the trash`, upkeep.delete && `${upkeep.delete} to be deleted`].filter(Boolean).join(", ");
  const rows = upkeep.people.map((one) => el("li", {}, el("strong", {}, one.id === "owner" ? "You" : one.name || "Somebody who has left"), el("span", {}, `${one.pictures} pictures · ${size(one.bytes)}`)));
  return part(
    "Room on the disk",
    rows.length ? el("ul", { class: "people-rows" }, ...rows) : el("p", { class: "quiet" }, "No pictures yet."),
    choice(rule, "guest_days", "Guests' pictures go to the trash", DAYS),
    choice(rule, "trash_days", "The trash is emptied", DAYS, "Favourites always stay. While the disk with the pictures is missing, nothing is deleted."),
    due && el("div", { class: "settings-due" }, el("span", {}, `Now due: ${due}.`), iconButton("trash", "Tidy up now", () => act("/upkeep/tidy"), { text: true })),
  );
}

function kept(rules) {
  const text = rules.guest_days ? `Your pictures go to the trash after ${rules.guest_days} days, unless they are favourites.` : "Your pictures stay here until somebody moves them to the trash.";
  return part("Your pictures", el("p", {}, text));
}

function privacy() {
  return part("Privacy", el("p", {}, "Telemetry is off: Gradio's, the hub's and ours, which does not exist. The page loads nothing from other hosts. Only what you ask for goes out: models you download, the tunnel of a public link, and a language model if one was set up."));
}
