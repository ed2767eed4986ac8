// The house's own routes. Every refusal becomes an Error whose message is the sentence to show.

export const root = () => `${(window.gradio_config?.root ?? "").replace(/\/$/, "")}/studio`;

export const url = {
  events: () => `${root()}/events`,
  file: (id) => `${root()}/pictures/${encodeURIComponent(id)}/file`,
  download: (id) => `${root()}/pictures/${encodeURIComponent(id)}/file?download=1`,
  copy: (id, kind, quiet) => `${root()}/pictures/${encodeURIComponent(id)}/file?download=1&kind=${kind}${quiet ? "&quiet=1" : ""}`,
  thumb: (id) => `${root()}/pictures/${encodeURIComponent(id)}/thumb`,
  input: (id, field) => `${root()}/pictures/${encodeURIComponent(id)}/inputs/${field}`,
  modelPreview: (id, date) => `${root()}/models/preview?${new URLSearchParams({ id, date })}`,
  sample: (name, date) => `${root()}/styles/sample?${new URLSearchParams({ name, date })}`,
  pose: (key) => `${root()}/poses/${encodeURIComponent(key)}/picture`,
  film: (id) => `${root()}/pictures/${encodeURIComponent(id)}/film`,
};

/** `signal`, of an AbortController, gives up waiting. */
export async function ask(method, path, body, signal) {
  let answer;
  try {
    answer = await fetch(root() + path, {
      method,
      headers: body === undefined || body instanceof Blob ? {} : { "content-type": "application/json" },
      body: body === undefined || body instanceof Blob ? body : JSON.stringify(body),
      signal,
    });
  } catch {
    throw new Error("The studio does not answer; is it still running?");
  }
  const told = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(told?.error ?? `The studio answered with an error (${answer.status}).`);
  return told;
}

/** `file` is a picture; what is in it is found out by the studio itself. */
export async function verifyPicture(file) {
  const answer = await fetch(`${root()}/verify`, { method: "POST", body: file }).catch(() => null);
  const told = await answer?.json().catch(() => null);
  if (!answer?.ok) throw new Error(told?.error ?? "The studio does not answer; is it still running?");
  return told;
}

export const shownToMe = () => ask("GET", "/shown");

const at = (id) => `/pictures/${encodeURIComponent(id)}`;

export const job = (id) => ask("GET", `/jobs/${encodeURIComponent(id)}`);
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
export const runModel = (model, mode) => ask("POST", "/engine/mode", { model, mode });
export const pinModel = (model, on) => ask("POST", "/engine/pin", { model, on });

export const wellKnown = () => ask("GET", "/hub/known");
export const offer = (model) => ask("GET", `/hub/offer?${new URLSearchParams({ model })}`);
export const downloads = () => ask("GET", "/hub/downloads");
export const startDownload = (model, revision) => ask("POST", "/hub/downloads", { model, revision });
export const resumeDownload = (id) => ask("POST", `/hub/downloads/${encodeURIComponent(id)}/resume`);
export const cancelDownload = (id) => ask("POST", `/hub/downloads/${encodeURIComponent(id)}/cancel`);

/** How much of a prompt a model reads; long ones do not fit into an address. */
export function tokens(query) {
  const address = new URLSearchParams(Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, one])));
  return `${address}`.length < 1500 ? ask("GET", `/tokens?${address}`) : ask("POST", "/tokens", query);
}
export const words = () => ask("GET", "/words");
export const surprise = (model) => ask("GET", `/surprise?${new URLSearchParams({ model })}`);
export const promptHelp = (text, model, turn, signal) => ask("POST", "/prompt-help", { text, model, turn }, signal);
/** The jobs of an X-ray: { prompt, seed, base, phrases: [{ start, end, text, job }] }. */
export const xray = (request) => ask("POST", "/xray", request);
export const distances = (base, others) => ask("GET", `/xray?${new URLSearchParams([["base", base], ...others.map((other) => ["other", other])])}`);
export const makeAgain = (id) => ask("POST", `${at(id)}/again`);
export const receipt = (id, again) => ask("GET", `${at(id)}/receipt?${new URLSearchParams({ again })}`);
export const negatives = (model) => ask("GET", `/negatives?${new URLSearchParams({ model })}`);

/** Poses ready to be taken, as { key, title, pose }. */
export const poses = () => ask("GET", "/poses");
/** OpenPose's JSON, a Blob, as a pose; without a page of its own it is on one of that size. */
export const readPose = (file, width, height) => ask("POST", `/poses?${new URLSearchParams({ width, height })}`, file);
/** The people in a photograph, a Blob, as a pose on a page of its shape. */
export const findPeople = (photo) => ask("POST", "/poses/found", photo);
export const writePose = (pose) => ask("POST", "/poses/openpose", pose);

/** The map that a picture of that size would follow, as a Blob; the same map is asked for once. */
export function map(unit, width, height) {
  const body = JSON.stringify({ unit, width, height });
  maps.get(body) ?? maps.set(body, blobOf("/maps", body).catch((refused) => (maps.delete(body), Promise.reject(refused))));
  if (maps.size > 12) maps.delete(maps.keys().next().value);
  return maps.get(body);
}
const maps = new Map();

async function blobOf(path, body) {
  const answer = await fetch(root() + path, { method: "POST", headers: { "content-type": "application/json" }, body });
  if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error ?? `The studio answered with an error (${answer.status}).`);
  return answer.blob();
}

export const styles = () => ask("GET", "/styles");
export const bringStyles = (file) => ask("POST", `/styles?${new URLSearchParams({ name: file.name.slice(-200) })}`, file);
export const ownPresets = () => ask("GET", "/presets");
export const keepPreset = (name, values) => ask("POST", "/presets", { name, values });
export const renamePreset = (id, name) => ask("POST", `/presets/${encodeURIComponent(id)}/rename`, { name });
export const removePreset = (id) => ask("POST", `/presets/${encodeURIComponent(id)}/remove`);

/** What a picture's file says of how it was made. */
export const readPicture = (file) => ask("POST", "/read-picture", file);
