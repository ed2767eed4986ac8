// Who else may see a picture, and a copy of it to give away.

import { ask, url } from "./api.js";
import { el, fill, icon, iconButton } from "./dom.js";

const KINDS = { png: "PNG", jpeg: "JPEG", webp: "WebP" };

export function openShowing(id) {
  const at = `/pictures/${encodeURIComponent(id)}`;
  const list = el("div", { class: "showing-list" });
  const said = el("p", { class: "people-said", role: "status" });
  const sheet = el(
    "dialog",
    { class: "sheet", "aria-labelledby": "showing-title", onclose: () => sheet.remove() },
    el("div", { class: "sheet-head" }, el("h2", { id: "showing-title" }, "Show this picture"), iconButton("close", "Close", () => sheet.close())),
    said,
    list,
    el("p", { class: "quiet" }, "Others see the picture and nothing of how it was made, unless you say so. Whoever may vary it works with its settings."),
    toTake(id),
  );
  document.body.append(sheet);
  sheet.showModal();
  refresh();

  async function refresh() {
    try {
      const { choices } = await ask("GET", `${at}/shown`);
      fill(list, ...choices.map(line));
    } catch (error) {
      said.textContent = error.message;
    }
  }

  async function show(to, on, prompt) {
    try {
      await ask("POST", `${at}/show`, { to, on, prompt });
      said.textContent = "";
    } catch (error) {
      said.textContent = error.message;
    }
    await refresh();
  }

  function line(one) {
    const seen = el("input", { type: "checkbox", checked: one.on, onchange: () => show(one.id, seen.checked, told.checked) });
    const told = el("input", { type: "checkbox", checked: one.prompt, disabled: !one.on, onchange: () => show(one.id, true, told.checked) });
    return el("div", { class: "showing-row" }, el("label", {}, seen, el("span", { dir: "auto" }, one.name)), el("label", { class: "quiet" }, told, el("span", {}, "with its prompt")));
  }
}

/** A copy to give away: signed like the picture itself, its settings left out unless asked for. */
function toTake(id) {
  const kind = el("select", { "aria-label": "Format", onchange: aim }, ...Object.entries(KINDS).map(([value, name]) => el("option", { value }, name)));
  const told = el("input", { type: "checkbox", onchange: aim });
  const link = el("a", { class: "tool with-text", download: true }, icon("download"), el("span", {}, "Download a copy"));
  const terms = el("p", { class: "quiet" });
  function aim() {
    link.href = url.copy(id, kind.value, !told.checked);
  }
  aim();
  ask("GET", `/pictures/${encodeURIComponent(id)}`).then(
    ({ licence }) => (terms.textContent = licence ? `Licence of its model: ${licence}.` : ""),
    () => {}, // the list above says what is wrong
  );
  return el("section", { class: "showing-copy", "aria-label": "A copy to give away" }, el("h3", {}, "A copy to give away"), el("div", { class: "showing-row" }, kind, el("label", { class: "quiet" }, told, el("span", {}, "with its settings")), link), terms);
}
