// What this browser tab is about: the jobs it follows, the pictures it has seen, the one in front.

import { cancelJob, saveAgain, setFavourite } from "./api.js";
import { complain, quiet, say } from "./notices.js";
import { jobsOf, live, subscribe } from "./live.js";

const KEPT = 120;
const listeners = new Set();
const ended = new Set(); // jobs whose end has been told
const aside = new Set(); // jobs whose pictures are looked at elsewhere

export const session = {
  pictures: recall(), // ids, newest first
  front: null, // the id of the picture the artist chose, or null: whatever is newest, forming or done
  lastSeed: null,
  awaited: null, // a job just accepted that the stream has not mentioned yet
};

function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem("pochade.pictures") ?? "[]");
    return Array.isArray(kept) ? kept.filter((id) => typeof id === "string").slice(0, KEPT) : [];
  } catch {
    return [];
  }
}

function keep() {
  try {
    sessionStorage.setItem("pochade.pictures", JSON.stringify(session.pictures));
  } catch {
    return; // forbidden storage: the strip lasts as long as the page
  }
}

export function onSession(listener) {
  listeners.add(listener);
  listener(session);
}

function tell() {
  for (const listener of listeners) listener(session);
}

const toldOf = (id) => jobsOf(live.board).some((job) => job.id === id);

/** A request of this page has been accepted. */
export function follow(job) {
  session.awaited = job;
  session.front = null;
  tell();
  if (!toldOf(job)) return;
  session.awaited = null; // the stream was faster than this answer: a quick job may have ended by now
  tell();
}

/** Leave the pictures of these jobs out of the strip, and what becomes of them untold. */
export function setAside(jobs) {
  for (const job of jobs) aside.add(job);
}

/** Put a picture in front; null: the newest. */
export function choose(id) {
  session.front = id;
  tell();
}

export function forget(id) {
  session.pictures = session.pictures.filter((known) => known !== id);
  if (session.front === id) session.front = null;
  keep();
  tell();
}

/** A picture from elsewhere (the gallery, a restored one) joins the strip and comes to the front. */
export function adopt(id) {
  if (!session.pictures.includes(id)) session.pictures = [id, ...session.pictures].slice(0, KEPT);
  session.front = id;
  keep();
  tell();
}

/** The picture in front when nothing forms there: chosen, or else the newest. */
export const inFront = () => session.front ?? session.pictures[0] ?? null;

export function stop() {
  const { running, waiting } = live.board ?? {};
  const job = running?.id ?? waiting?.at(-1)?.id;
  if (job) cancel(job);
}

export const cancel = (job) => cancelJob(job).catch(complain);

let first = true;

subscribe(() => {
  const { board } = live;
  if (!board) return;
  if (toldOf(session.awaited)) session.awaited = null;
  gather(board);
  for (const job of [...board.recent].reverse()) {
    if (ended.has(job.id) || aside.has(job.id)) continue;
    ended.add(job.id);
    // What ended before this page was opened is told only if nothing has happened since.
    if (!first || job === board.recent[0]) tellEnd(job, first);
  }
  first = false;
  tell();
});

function gather(board) {
  // Newest first: of the job being drawn, then of the finished ones; within a job the last picture is the newest.
  // A waiting job has pictures already if it gave way to somebody else's.
  const jobs = jobsOf(board).filter((job) => !aside.has(job.id));
  const news = jobs.flatMap((job) => [...job.pictures].reverse());
  const fresh = news.filter((id) => !session.pictures.includes(id) && !gone.has(id));
  if (fresh.length) {
    session.pictures = [...fresh, ...session.pictures].slice(0, KEPT);
    keep();
  }
  const done = board.recent.find((job) => job.pictures.length);
  session.lastSeed = (board.running?.pictures.length ? board.running : done)?.request.seed ?? session.lastSeed;
}

/** Pictures in the trash do not come back into the strip by themselves. */
export const gone = new Set();

function tellEnd(job, before) {
  if (job.unsaved) {
    say(job.reason, "error", { label: "Save again", run: () => saveAgain(job.id).then(quiet, complain) });
  } else if (job.state === "failed") {
    say(job.reason, "error");
  } else if (job.state === "cancelled" && !before) {
    say(job.pictures.length ? "Stopped; the finished pictures are kept." : "Stopped.");
  }
}

/** id → is a favourite, as far as known here; keeps stage and gallery of one page in step. */
const favourites = new Map();
const favouriteListeners = new Set();

export const isFavourite = (id) => favourites.get(id) ?? false;
export const knowFavourite = (id, on) => {
  favourites.set(id, on);
  for (const listener of favouriteListeners) listener(id, on);
};
export const onFavourite = (listener) => favouriteListeners.add(listener);

export async function toggleFavourite(id) {
  const on = !isFavourite(id);
  knowFavourite(id, on);
  try {
    await setFavourite(id, on);
  } catch (error) {
    knowFavourite(id, !on);
    complain(error);
  }
}
