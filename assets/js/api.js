// The house's own routes. Every refusal becomes an Error whose message is the sentence to show.

const root = () => `${(window.gradio_config?.root ?? "").replace(/\/$/, "")}/studio`;

export const url = {
  events: () => `${root()}/events`,
  file: (id) => `${root()}/pictures/${encodeURIComponent(id)}/file`,
  download: (id) => `${root()}/pictures/${encodeURIComponent(id)}/file?download=1`,
  thumb: (id) => `${root()}/pictures/${encodeURIComponent(id)}/thumb`,
  input: (id, field) => `${root()}/pictures/${encodeURIComponent(id)}/inputs/${field}`,
  modelPreview: (id, date) => `${root()}/models/preview?${new URLSearchParams({ id, date })}`,
  film: (id) => `${root()}/pictures/${encodeURIComponent(id)}/film`,
};

export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(root() + path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The studio does not answer; is it still running?");
  }
  const told = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(told?.error ?? `The studio answered with an error (${answer.status}).`);
  return told;
}

const at = (id) => `/pictures/${encodeURIComponent(id)}`;

export const cancelJob = (id) => ask("POST", `/jobs/${encodeURIComponent(id)}/cancel`);
export const saveAgain = (id) => ask("POST", `/jobs/${encodeURIComponent(id)}/save`);
export const pictures = (query) => ask("GET", `/pictures?${new URLSearchParams(query)}`);
export const facets = () => ask("GET", "/facets");
export const picture = (id) => ask("GET", at(id));
/** A new job that grows out of a picture; each answers { id, state }. */
export const vary = (id, how) => ask("POST", `${at(id)}/variation`, { how });
export const pan = (id, across, down) => ask("POST", `${at(id)}/pan`, { across, down });
export const zoomOut = (id, factor) => ask("POST", `${at(id)}/zoom`, { factor });
export const setFavourite = (id, on) => ask("POST", `${at(id)}/favourite`, { on });
export const trash = (id) => ask("POST", `${at(id)}/trash`);
export const restore = (id) => ask("POST", `${at(id)}/restore`);
export const rebuild = () => ask("POST", "/gallery/rebuild");

export const models = (query) => ask("GET", `/models?${new URLSearchParams(query)}`);
export const modelsRevision = () => ask("GET", "/models/revision");
export const modelLikes = () => ask("GET", "/models/likes");
export const modelEntry = (id) => ask("GET", `/models/entry?${new URLSearchParams({ id })}`);
export const refreshModels = () => ask("POST", "/models/refresh");
export const startWithModel = (id) => ask("POST", "/models/default", { id });
export const noteModel = (id, text) => ask("POST", "/models/note", { id, text });
export const trashModel = (id) => ask("POST", "/models/trash", { id });
export const restoreModel = (id) => ask("POST", "/models/restore", { id });

export const engine = () => ask("GET", "/engine");
export const prepareModel = (model) => ask("POST", "/engine/prepare", { model });
export const unloadModel = (model) => ask("POST", "/engine/unload", { model });
export const pinModel = (model, on) => ask("POST", "/engine/pin", { model, on });

export const wellKnown = () => ask("GET", "/hub/known");
export const offer = (model) => ask("GET", `/hub/offer?${new URLSearchParams({ model })}`);
export const downloads = () => ask("GET", "/hub/downloads");
export const startDownload = (model, revision) => ask("POST", "/hub/downloads", { model, revision });
export const resumeDownload = (id) => ask("POST", `/hub/downloads/${encodeURIComponent(id)}/resume`);
export const cancelDownload = (id) => ask("POST", `/hub/downloads/${encodeURIComponent(id)}/cancel`);
