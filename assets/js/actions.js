// What can be done with a finished picture; the same row below the stage and in the gallery's full view.

import { el, icon, iconButton } from "./dom.js";
import { url } from "./api.js";
import { isFavourite, onFavourite, toggleFavourite } from "./session.js";
import { beginCompare } from "./compare.js";
import { showFilm } from "./film.js";
import { reuse } from "./form.js";
import { furtherMenu, sendButtons } from "./further.js";
import { complain, toast } from "./notices.js";

/** A row of buttons for the picture `current()` gives; call its `refresh` when that changes. `more` are added last. */
export function actionRow(current, { before = () => {}, more = [] } = {}) {
  const download = el("a", { class: "tool", role: "link", title: "Download", "aria-label": "Download", download: true }, icon("download"));
  const star = iconButton("star", "Favourite", () => toggleFavourite(current()), { "aria-pressed": "false" });
  const full = el("a", { class: "tool", role: "link", title: "Open full size", "aria-label": "Open full size", target: "_blank", rel: "noopener" }, icon("expand"));
  const again = iconButton("sliders", "Reuse settings", useSettings, { text: true });
  function useSettings() {
    before();
    reuse(current());
  }
  function compare() {
    before();
    beginCompare(current());
  }
  const row = el(
    "div",
    { class: "actions", role: "toolbar", "aria-label": "This picture" },
    again,
    ...sendButtons(current, before),
    furtherMenu(current, before),
    el("span", { class: "gap" }),
    star,
    download,
    iconButton("copy", "Copy to the clipboard", () => copy(current())),
    full,
    iconButton("compare", "Compare with another picture", compare),
    iconButton("film", "How it formed", () => showFilm(current())),
    ...more,
  );
  function refresh() {
    const id = current();
    row.toggleAttribute("data-idle", !id);
    for (const button of row.querySelectorAll("button")) button.disabled = !id;
    for (const link of [download, full]) {
      if (id) link.setAttribute("href", link === download ? url.download(id) : url.file(id));
      else link.removeAttribute("href");
    }
    star.setAttribute("aria-pressed", String(Boolean(id) && isFavourite(id)));
  }
  onFavourite((id) => id === current() && refresh());
  refresh();
  return { row, refresh };
}

async function copy(id) {
  try {
    if (!navigator.clipboard || !window.ClipboardItem) {
      throw new Error("Browsers copy pictures only from https or from this machine itself; download it instead.");
    }
    const file = fetch(url.file(id)).then((answer) => {
      if (!answer.ok) throw new Error("The picture could not be read; is its file still there?");
      return answer.blob();
    });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": file })]);
    toast("Copied.");
  } catch (error) {
    complain(error instanceof DOMException ? new Error("The browser did not allow copying; download it instead.") : error);
  }
}
