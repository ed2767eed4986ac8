// What the studio is doing, as it tells it: one event stream, shared by every part of the page.

import { url } from "./api.js";

const REST_AFTER = 20_000; // a hidden, idle tab gives its connection back: browsers allow six to a host
const listeners = new Set();
let source = null;
let rest = 0;

export const live = {
  board: null, // the last message
  connected: false,
  preview: null, // { job, index, number, src } of the picture being drawn
};

/** All jobs of a board, or of none: the one being drawn, those that wait, those that ended, newest first. */
export const jobsOf = (board) => (board ? [board.running, ...board.waiting, ...board.recent].filter(Boolean) : []);

/** Call `listener` now, if anything is known, and on every change. */
export function subscribe(listener) {
  listeners.add(listener);
  if (live.board || live.connected) listener(live);
}

export const unsubscribe = (listener) => listeners.delete(listener);

function tell() {
  for (const listener of listeners) listener(live);
}

function heard(message) {
  const board = JSON.parse(message.data);
  const running = board.running;
  if (running?.preview) {
    live.preview = { job: running.id, index: running.index, number: running.preview_number, src: running.preview };
  } else if (!running || live.preview?.job !== running.id || live.preview.index !== running.index) {
    live.preview = null;
  }
  live.board = board;
  live.connected = true;
  tell();
}

function connect() {
  if (source) return;
  source = new EventSource(url.events());
  source.onmessage = heard;
  source.onerror = () => {
    live.connected = false;
    tell();
    // A refused stream (the studio restarts behind a proxy) is not retried by the browser itself.
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(connect, 2000);
    }
  };
}

function restWhenHidden() {
  clearTimeout(rest);
  if (!document.hidden) {
    connect();
    return;
  }
  rest = setTimeout(() => {
    if (live.board?.running || live.board?.waiting.length) {
      restWhenHidden();
      return;
    }
    source?.close();
    source = null;
  }, REST_AFTER);
}

export function start() {
  document.addEventListener("visibilitychange", restWhenHidden);
  // A page kept for the back button must not hold a connection either.
  addEventListener("pagehide", () => {
    source?.close();
    source = null;
  });
  addEventListener("pageshow", () => connect());
  connect();
}
