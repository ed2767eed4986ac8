// Which tab is shown: the address says it, so reload and the back button work.

const TABS = ["create", "gallery"];
const listeners = new Set();

export const route = () => {
  const asked = location.hash.slice(1);
  return TABS.includes(asked) ? asked : TABS[0];
};

function show() {
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

export function start() {
  addEventListener("hashchange", show);
  show();
}
