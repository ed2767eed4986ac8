// Starts everything that does not belong to one widget. Widgets import their own modules when Gradio shows them.

import * as able from "./able.js";
import * as ahead from "./ahead.js";
import * as complete from "./complete.js";
import * as dropped from "./dropped.js";
import * as live from "./live.js";
import * as routes from "./routes.js";
import * as weights from "./prompt-weights.js";
import { listen } from "./shortcuts.js";
import { generate, remembered, restored, shown, swapSize } from "./form.js";
import { answer, taken, toggleView } from "./rooms.js";
import { sendFromHere } from "./further.js";
import { stop } from "./session.js";
import { cancelCompare, comparing } from "./compare.js";

// What the page's Gradio events call.
Object.assign(window.pochade, { answer, remembered, restored, shown, taken });
routes.start();
live.start();
ahead.start();
able.start();
complete.start();
dropped.start();
weights.start();
listen({
  generate,
  stop: () => (comparing.first ? cancelCompare() : stop()),
  swap: swapSize,
  toggleView,
  send: sendFromHere,
});
