// Help with a prompt: another wording, shown as what would change, taken over only when the artist says so.

import { el, iconButton } from "./dom.js";
import { promptHelp } from "./api.js";
import { areaOf, rewrite } from "./prompt-text.js";
import { diff } from "./diff.js";

export async function openHelp(model) {
  const area = areaOf("prompt");
  const before = area.value;
  const leaving = new AbortController();
  let turn = 0;
  let proposed = "";
  const shown = el("p", { class: "help-diff", dir: "auto", "aria-label": "What would change" });
  const by = el("p", { class: "quiet", role: "status" });
  const problem = el("p", { class: "notice-text", role: "alert" });
  const another = iconButton("again", "Another one", () => ask(), { text: true });
  const use = el("button", { type: "button", class: "tool with-text strong", onclick: take }, "Use it");
  const dialog = el(
    "dialog",
    { class: "sheet prompt-help", "aria-labelledby": "prompt-help-title", onclose: leave },
    el("div", { class: "sheet-head" }, el("h2", { id: "prompt-help-title" }, "Improve the prompt"), iconButton("close", "Close", () => dialog.close())),
    shown,
    by,
    problem,
    el("div", { class: "sheet-foot" }, another, el("span", { class: "gap" }), el("button", { type: "button", class: "tool with-text", onclick: () => dialog.close() }, "Keep mine"), use),
  );

  async function ask() {
    another.disabled = use.disabled = true;
    problem.textContent = "";
    by.textContent = "Thinking…";
    try {
      const told = await promptHelp(before, model, turn++, leaving.signal);
      proposed = told.prompt;
      shown.replaceChildren(...diff(before, proposed).map(({ kind, text }) => el({ same: "span", gone: "del", new: "ins" }[kind], {}, text)));
      by.textContent = proposed === before ? "It says everything already." : `Proposed by ${told.by}. You can edit it afterwards, or undo it.`;
      use.disabled = proposed === before;
    } catch (refused) {
      by.textContent = "";
      problem.textContent = refused.message;
    }
    another.disabled = false;
  }

  function leave() {
    leaving.abort();
    dialog.remove();
  }

  function take() {
    dialog.close();
    rewrite(area, proposed);
  }

  document.body.append(dialog);
  dialog.showModal();
  await ask();
}
