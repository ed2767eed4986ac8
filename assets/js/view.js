// One picture of the gallery in full, with everything that is known of it.

import { duration, el, fill, iconButton } from "./dom.js";
import { picture, url } from "./api.js";
import { adopt, knowFavourite } from "./session.js";
import { actionRow } from "./actions.js";
import { furtherMenu } from "./further.js";
import { openShowing } from "./showing.js";
import { go } from "./routes.js";
import { toast } from "./notices.js";

/** `around`: { trashed, neighbour(id, step), remove(id), bringBack(id), closed(id) } */
export function openView(id, around) {
  let shown = id;
  const img = el("img", { class: "picture", alt: "" });
  const easel = el("div", { class: "easel" }, img);
  const facts = el("div", { class: "view-facts" });
  const problem = el("p", { class: "notice-text", role: "alert" });
  const leave = () => dialog.close();
  const show = iconButton("picture", "Show on the stage", () => (leave(), adopt(shown), go("create")));
  const { row, refresh } = around.shown
    ? { row: el("div", { class: "actions" }, furtherMenu(() => shown, leave)), refresh: () => {} }
    : around.trashed
    ? { row: el("div", { class: "actions" }, iconButton("restore", "Restore", () => beside(around.bringBack), { text: true })), refresh: () => {} }
    : actionRow(() => shown, {
        before: leave,
        more: [show, iconButton("people", "Show to others", () => openShowing(shown)), iconButton("trash", "Move to the trash", () => beside(around.remove))],
      });
  const dialog = el(
    "dialog",
    {
      class: "sheet full view",
      "aria-label": "Picture",
      onclose: () => {
        dialog.remove();
        around.closed(shown);
      },
      onkeydown: (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (step) turn(step);
        else if (event.key === "Delete" && !around.trashed && !around.shown) beside(around.remove);
      },
    },
    el("div", { class: "view-easel" }, easel, iconButton("left", "Previous picture", () => turn(-1), { class: "tool view-left" }), iconButton("right", "Next picture", () => turn(1), { class: "tool view-right" })),
    el("div", { class: "view-side" }, el("div", { class: "sheet-head" }, el("h2", {}, "Picture"), iconButton("close", "Close", leave)), row, problem, facts),
  );

  async function turn(step) {
    const other = await around.neighbour(shown, step);
    if (other) present(other);
  }

  /** Act on the shown picture and go on to a neighbour, or close when it was the last. */
  async function beside(act) {
    const was = shown;
    const other = (await around.neighbour(was, 1)) ?? (await around.neighbour(was, -1));
    await act(was);
    if (other && other !== was) present(other);
    else leave();
  }

  async function present(wanted) {
    shown = wanted;
    if (!around.trashed && !around.shown) dialog.dataset.picture = wanted;
    img.src = url.file(wanted);
    refresh();
    try {
      const known = await picture(wanted);
      if (shown !== wanted) return;
      problem.textContent = known.missing ? "The file of this picture is missing; it may have been moved, or its disk is not there." : "";
      knowFavourite(wanted, known.favourite);
      easel.style.setProperty("--w", known.width);
      easel.style.setProperty("--h", known.height);
      img.alt = known.prompt || "A picture without a prompt";
      describe(known);
    } catch (error) {
      problem.textContent = error.message;
      facts.replaceChildren();
    }
  }

  function describe(known) {
    const { request = {} } = known;
    const rows = [
      ["Prompt", request.prompt ?? known.prompt],
      ["Negative prompt", request.negative],
      ["Styles", request.styles?.join(", ")],
      ["With styles", request.styles?.length ? request.full_prompt : ""],
      ["Model", known.title || known.model],
      ["Licence of the model", known.licence],
      ["Sampler", request.sampler],
      ["Schedule type", request.scheduler],
      ["Steps", request.steps],
      ["Guidance scale", request.guidance],
      ["Size", `${known.width} × ${known.height}`],
      ["Seed", known.seed],
      ["Made", new Date(known.created).toLocaleString()],
      ["Took", known.seconds ? duration(known.seconds) : ""],
      ["File", known.name],
    ].filter(([, value]) => value !== undefined && value !== null && value !== "");
    const list = el("dl", { class: "facts" }, ...rows.map(([name, value]) => el("div", { class: name.includes("rompt") || name === "With styles" ? "long" : null }, el("dt", {}, name), el("dd", { dir: "auto" }, String(value)))));
    fill(facts, list, known.infotext && iconButton("copy", "Copy all as text", () => copyText(known.infotext), { text: true }));
  }

  async function copyText(text) {
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied.");
    } catch {
      toast("The browser did not allow copying.");
    }
  }

  document.body.append(dialog);
  dialog.showModal();
  present(id);
}
