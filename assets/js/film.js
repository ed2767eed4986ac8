// "How it formed": the frames from noise to picture, to look through and to save.

import { el, icon, iconButton } from "./dom.js";
import { picture, url } from "./api.js";
import { complain } from "./notices.js";

export async function showFilm(id) {
  const strip = new Image();
  strip.src = url.film(id);
  let facts;
  try {
    [facts] = await Promise.all([picture(id), strip.decode()]);
  } catch {
    complain(new Error("This picture has no film; it was made elsewhere, or drawn too quickly to film."));
    return;
  }
  // The frames lie side by side and have the picture's proportions.
  const frames = Math.max(1, Math.round((strip.naturalWidth * facts.height) / (strip.naturalHeight * facts.width)));
  const width = strip.naturalWidth / frames;
  const canvas = el("canvas", { width, height: strip.naturalHeight, class: "film-frame", role: "img", "aria-label": "One frame of the film" });
  const range = el("input", { type: "range", min: "1", max: String(frames), value: String(frames), "aria-label": "Frame" });
  const told = el("output", { class: "quiet" });
  function show() {
    const frame = Number(range.value);
    canvas.getContext("2d").drawImage(strip, (frame - 1) * width, 0, width, strip.naturalHeight, 0, 0, width, strip.naturalHeight);
    told.textContent = `${frame} of ${frames}`;
  }
  range.addEventListener("input", () => (pause(), show()));
  let timer = 0;
  const play = iconButton("play", "Play", () => (timer ? pause() : start()));
  function start() {
    let frame = Number(range.value) % frames;
    dress("pause", "Pause");
    timer = setInterval(() => {
      range.value = String(++frame);
      show();
      if (frame >= frames) pause();
    }, 220);
  }
  function pause() {
    clearInterval(timer);
    timer = 0;
    dress("play", "Play");
  }
  function dress(name, label) {
    play.replaceChildren(icon(name));
    play.title = label;
    play.setAttribute("aria-label", label);
  }
  show();
  strip.alt = "The eight frames side by side";
  strip.className = "film-strip";
  const dialog = el(
    "dialog",
    {
      class: "sheet film",
      "aria-label": "How it formed",
      onclose: () => {
        pause();
        dialog.remove();
      },
    },
    el("div", { class: "sheet-head" }, el("h2", {}, "How it formed"), iconButton("close", "Close", () => dialog.close())),
    canvas,
    el("div", { class: "film-controls" }, play, range, told, el("a", { class: "tool with-text", href: `${url.film(id)}?download=1`, download: `${id}-film.jpg` }, icon("download"), "Save the strip")),
    strip,
  );
  document.body.append(dialog);
  dialog.showModal();
  range.focus();
}
