// "Make it again": a stored request drawn once more, and a receipt that says whether the picture is the same.

import { el, iconButton } from "./dom.js";
import { makeAgain, receipt, url } from "./api.js";
import { subscribe, unsubscribe } from "./live.js";
import { complain, say } from "./notices.js";

/** The new job, as { id, state }; its receipt is told when it is done. */
export async function again(id) {
  const job = await makeAgain(id);
  subscribe(function wait({ board }) {
    const ended = board?.recent.find((one) => one.id === job.id);
    if (!ended) return;
    unsubscribe(wait);
    const [made] = ended.pictures;
    if (made) receipt(id, made).then((told) => tell(id, made, told), complain);
  });
  return job;
}

const VERDICTS = {
  identical: () => "Made again: identical, to the last bit.",
  close: (psnr) => `Made again: so close that nobody sees a difference (${psnr} dB).`,
  different: (psnr) => `Made again, and it is different${psnr === null ? "" : ` (${psnr} dB)`}.`,
};

function tell(before, after, { verdict, psnr, changed }) {
  const sentence = VERDICTS[verdict](psnr);
  const names = Object.keys(changed);
  const cause = names.length ? ` Changed since: ${names.join(", ")}.` : verdict === "identical" ? "" : " Nothing that is recorded has changed.";
  say(sentence + cause, "info", { label: "Receipt", run: () => show(before, after, sentence, changed) });
}

function show(before, after, sentence, changed) {
  const rows = Object.entries(changed).map(([name, [then, now]]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { dir: "auto" }, then || "—"), el("td", { dir: "auto" }, now || "—")));
  const dialog = el(
    "dialog",
    { class: "sheet receipt", "aria-labelledby": "receipt-title", onclose: () => dialog.remove() },
    el("div", { class: "sheet-head" }, el("h2", { id: "receipt-title" }, "Receipt"), iconButton("close", "Close", () => dialog.close())),
    el("p", {}, sentence),
    el("div", { class: "receipt-pair" }, figure(before, "Then"), figure(after, "Now")),
    rows.length ? el("table", {}, el("thead", {}, el("tr", {}, ...["What changed", "Then", "Now"].map((title) => el("th", { scope: "col" }, title)))), el("tbody", {}, ...rows)) : el("p", { class: "quiet" }, "Program, device, model and every setting are as they were."),
  );
  document.body.append(dialog);
  dialog.showModal();
}

const figure = (id, caption) => el("figure", {}, el("img", { src: url.thumb(id), alt: caption, width: "160", height: "160" }), el("figcaption", { class: "quiet" }, caption));
