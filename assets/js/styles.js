// The style browser: all styles with pictures where the embedded model can show them, and the way in for new ones.

import { el, icon, iconButton } from "./dom.js";
import { bringStyles, styles, url } from "./api.js";
import { learn, onShown, put } from "./form.js";
import { complain, toast } from "./notices.js";

/** Below the list of chosen styles: the button that opens the browser. */
export function button(element) {
  let chosen = [];
  onShown((values) => (chosen = values.styles ?? []));
  element.replaceChildren(el("button", { type: "button", class: "chip", onclick: () => open(chosen).catch(complain) }, icon("picture"), "Browse styles"));
}

async function open(before) {
  let { styles: all } = await styles();
  const chosen = new Set(before);
  let category = "";
  const search = el("input", { type: "search", placeholder: "Search styles", "aria-label": "Search styles", autocomplete: "off", oninput: show });
  const categories = el("select", { "aria-label": "Category", onchange: () => ((category = categories.value), show()) });
  const grid = el("ul", { class: "style-grid", "aria-label": "Styles" });
  const file = el("input", { type: "file", accept: ".csv,.json,text/csv,application/json", hidden: true, tabindex: "-1", "aria-label": "File of styles", onchange: bringIn });
  const problem = el("p", { class: "notice-text", role: "alert" });
  const use = el("button", { type: "button", class: "tool with-text strong", onclick: () => dialog.close() });
  const dialog = el(
    "dialog",
    { class: "sheet broad styles-sheet", "aria-labelledby": "styles-title", onclose: leave },
    el("div", { class: "sheet-head" }, el("h2", { id: "styles-title" }, "Styles"), iconButton("close", "Close", () => dialog.close())),
    el("div", { class: "filters", role: "search" }, el("label", { class: "search" }, icon("search"), search), categories),
    problem,
    grid,
    el("div", { class: "sheet-foot" }, file, iconButton("plus", "Add styles from a file…", () => file.click(), { text: true }), el("span", { class: "gap" }), el("button", { type: "button", class: "tool with-text", onclick: () => (chosen.clear(), show()) }, "None"), use),
  );

  function leave() {
    dialog.remove();
    const now = [...chosen];
    if (now.join("\n") !== before.join("\n")) put({ styles: now });
  }

  function offer() {
    const names = [...new Set(all.map((style) => style.category || "Others"))];
    categories.replaceChildren(el("option", { value: "" }, "All categories"), ...names.map((name) => el("option", { value: name, selected: name === category }, name)));
  }

  function show() {
    const wanted = search.value.trim().toLowerCase();
    const found = all.filter((style) => (!category || (style.category || "Others") === category) && `${style.name} ${style.category} ${style.prompt}`.toLowerCase().includes(wanted));
    grid.replaceChildren(...found.map(card));
    if (!found.length) grid.append(el("li", { class: "quiet" }, "No style matches."));
    mark();
  }

  function card({ name, prompt, sample }) {
    const words = prompt.replaceAll("{prompt}", "…").replace(/^…,\s*/, "");
    const shown = sample ? el("img", { src: url.sample(name, sample), alt: "", loading: "lazy", decoding: "async", width: "160", height: "160" }) : el("span", { class: "style-words", "aria-hidden": "true" }, words);
    const choose = () => {
      if (!chosen.delete(name)) chosen.add(name);
      mark();
    };
    return el("li", {}, el("button", { type: "button", class: "style-card", "data-style": name, title: words, onclick: choose }, shown, el("span", { class: "style-name" }, name)));
  }

  function mark() {
    for (const one of grid.querySelectorAll(".style-card")) one.setAttribute("aria-pressed", String(chosen.has(one.dataset.style)));
    const full = chosen.size > 16;
    problem.textContent = full ? "A picture can wear sixteen styles at most; take some off." : "";
    use.disabled = full;
    use.textContent = chosen.size ? `Use ${chosen.size === 1 ? "this style" : `these ${chosen.size}`}` : "Use no style";
  }

  async function bringIn() {
    const [sent] = file.files;
    file.value = "";
    if (!sent) return;
    try {
      const { added, faults } = await bringStyles(sent);
      ({ styles: all } = await styles());
      learn({ styles: Object.fromEntries(all.map((style) => [style.name, style])) });
      category = "";
      search.value = "";
      offer();
      show();
      toast(`${added.length === 1 ? "One style was" : `${added.length} styles were`} added.${faults.length ? ` ${faults.length} left out: ${faults[0]}` : ""}`);
      grid.querySelector(`[data-style="${CSS.escape(added[0])}"]`)?.scrollIntoView({ block: "nearest" });
    } catch (refused) {
      problem.textContent = refused.message;
    }
  }

  offer();
  show();
  document.body.append(dialog);
  dialog.showModal();
}
