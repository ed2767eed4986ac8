// Which tab is shown: the address says it, so reload and the back button work.

/** The tabs where pictures are made share one form and one stage; all but the first have a surface of their own. */
export const ROOMS = ["create", "image", "inpaint", "guide"];
const TABS = [...ROOMS, "models", "gallery"];
const listeners = new Set();
let room = ROOMS[0]; // the one the artist was in last

export const route = () => {
  const asked = location.hash.slice(1);
  return TABS.includes(asked) ? asked : TABS[0];
};

export const inRoom = () => ROOMS.includes(route());

function show() {
  if (inRoom()) room = route();
  document.documentElement.dataset.tab = route();
  for (const listener of listeners) listener(route());
}

export function onRoute(listener) {
  listeners.add(listener);
  listener(route());
}

export function go(tab) {
  if (route() !== tab) location.hash = tab;
}

/** To where pictures are made, as the artist left it. */
export const goBack = () => go(room);

export function start() {
  addEventListener("hashchange", show);
  show();
}
