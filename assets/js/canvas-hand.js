// Pointers on the canvas: one paints, two fingers move and scale, the wheel scales, the middle button or Space moves.

import { isTyping } from "./dom.js";
import { begin } from "./canvas-tools.js";

const HESITATION = 350; // ms within which a second finger means that the first one was not painting
const PALM = 800; // ms after a pen during which touches do not paint

export class Hand {
  constructor(canvas, easel, cursor) {
    this.canvas = canvas;
    this.view = canvas.view;
    this.easel = easel;
    this.cursor = cursor;
    this.pointers = new Map(); // id → the last event
    this.gesture = null; // { id, since, move, end, cancel }
    this.space = false;
    this.penSeen = -Infinity;
    const on = (name, handle, options) => easel.addEventListener(name, handle, options);
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#lost(event));
    on("pointerenter", (event) => this.#hover(event));
    on("blur", () => easel.removeAttribute("data-hand"));
    on("pointerleave", () => (cursor.hidden = true));
    on("contextmenu", (event) => canvas.sheet && event.preventDefault());
    on("wheel", (event) => this.#wheel(event), { passive: false });
    addEventListener("keydown", (event) => this.#spaceBar(event, true));
    addEventListener("keyup", (event) => this.#spaceBar(event, false));
    addEventListener("blur", () => this.#setSpace(false));
  }

  get busy() {
    return this.gesture !== null;
  }

  #down(event) {
    if (!this.canvas.sheet || event.target.closest("button, input, label")) return;
    this.easel.toggleAttribute("data-hand", true); // whoever points needs no ring of focus around the picture
    this.easel.focus({ preventScroll: true });
    this.easel.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (event.pointerType === "pen") this.penSeen = event.timeStamp;
    const fingers = [...this.pointers.values()].filter((at) => at.pointerType === "touch");
    if (fingers.length === 2) {
      this.#giveWay(event);
      this.gesture = this.#pinch(fingers.map((at) => at.pointerId));
      return;
    }
    if (this.gesture || fingers.length > 2) return;
    const drags = event.button === 1 || this.space;
    const palm = event.pointerType === "touch" && event.timeStamp - this.penSeen < PALM;
    if (palm || ![0, 1, 2, 5].includes(event.button)) return;
    event.preventDefault();
    const gesture = drags ? this.#drag(event) : begin(this.canvas, this.#exact(event));
    this.gesture = { id: event.pointerId, since: event.timeStamp, ...gesture };
    if (!drags) this.canvas.reveal();
    this.#hover(event);
  }

  /** Browsers round where a button goes down, not where a pointer moves; on a zoomed page that is a pixel or more. */
  #exact(event) {
    const last = this.hovered;
    const same = last?.pointerId === event.pointerId && Math.hypot(last.clientX - event.clientX, last.clientY - event.clientY) < 1.5;
    const { clientX, clientY } = same ? last : event;
    const { pointerType, pressure, button, shiftKey, altKey } = event;
    return { clientX, clientY, pointerType, pressure, button, shiftKey, altKey };
  }

  /** A second finger has come: a stroke that just began was a mistake, a longer one is finished. */
  #giveWay(event) {
    const { gesture } = this;
    this.gesture = null;
    if (gesture) (event.timeStamp - gesture.since < HESITATION ? gesture.cancel : gesture.end)();
  }

  #move(event) {
    this.#hover(event);
    if (!this.pointers.has(event.pointerId)) return;
    this.pointers.set(event.pointerId, event);
    if (event.pointerType === "pen") this.penSeen = event.timeStamp;
    if (!this.gesture || (this.gesture.id !== event.pointerId && !this.gesture.ids?.includes(event.pointerId))) return;
    const all = event.getCoalescedEvents?.() ?? [];
    this.gesture.move(all.length ? all : [event]);
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId) || !this.gesture) return;
    if (this.gesture.id === event.pointerId || this.gesture.ids?.includes(event.pointerId)) {
      const { gesture } = this;
      this.gesture = null;
      gesture.end();
    }
    if (event.pointerType === "touch") this.cursor.hidden = true;
  }

  #lost(event) {
    if (!this.pointers.delete(event.pointerId) || !this.gesture) return;
    const { gesture } = this;
    this.gesture = null;
    gesture.end(); // the system took the pointer away; what has been painted stays, and can be undone
  }

  /** Leave whatever is under way, e.g. because Undo was pressed meanwhile. */
  stop() {
    this.gesture?.cancel();
    this.gesture = null;
  }

  #drag(event) {
    let last = this.view.dots(event);
    return {
      move: (events) => {
        const now = this.view.dots(events.at(-1));
        this.view.pan(now[0] - last[0], now[1] - last[1]);
        last = now;
      },
      end: () => {},
      cancel: () => {},
    };
  }

  #pinch(ids) {
    const read = () => {
      const [[ax, ay], [bx, by]] = ids.map((id) => this.view.dots(this.pointers.get(id)));
      return { middle: [(ax + bx) / 2, (ay + by) / 2], span: Math.max(1, Math.hypot(bx - ax, by - ay)) };
    };
    let last = read();
    return {
      ids,
      move: () => {
        const now = read();
        this.view.pan(now.middle[0] - last.middle[0], now.middle[1] - last.middle[1]);
        this.view.zoom(now.span / last.span, now.middle);
        last = now;
      },
      end: () => {},
      cancel: () => {},
    };
  }

  #wheel(event) {
    if (!this.canvas.sheet) return;
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 32 : event.deltaMode === WheelEvent.DOM_DELTA_PAGE ? 400 : 1;
    if (event.shiftKey) this.view.pan(-(event.deltaX || event.deltaY) * unit, 0);
    else {
      // With Ctrl it is a pinch on a trackpad, whose deltas are small.
      const delta = Math.max(-240, Math.min(240, event.deltaY * unit * (event.ctrlKey ? 6 : 1)));
      this.view.zoom(1.0018 ** -delta, this.view.dots(event));
    }
    this.#hover(event);
  }

  #spaceBar(event, down) {
    if (event.key !== " ") return;
    if (!down) this.#setSpace(false);
    else if (this.canvas.listening && !isTyping(event.target) && !event.target.closest?.("button, input, a, summary, dialog")) {
      event.preventDefault(); // or the page scrolls
      this.#setSpace(true);
    }
  }

  #setSpace(held) {
    this.space = held;
    this.easel.toggleAttribute("data-moving", held);
  }

  /** The ring that shows the brush. */
  #hover(event) {
    this.hovered = event;
    const { settings, sheet } = this.canvas;
    const ring = sheet && !this.space && (settings.tool === "brush" || settings.tool === "eraser") && !(event.altKey && sheet.layer.colour);
    const size = ring ? settings.size * this.view.css : 0;
    this.easel.toggleAttribute("data-ring", Boolean(ring) && size >= 6);
    this.cursor.hidden = !ring || size < 6 || event.pointerType === "touch";
    if (this.cursor.hidden) return;
    const [x, y] = this.view.dots(event).map((dot) => (dot * this.view.overlay.clientWidth) / this.view.overlay.width);
    Object.assign(this.cursor.style, { width: `${size}px`, height: `${size}px`, translate: `${x - size / 2}px ${y - size / 2}px` });
  }

  refreshCursor() {
    if (this.hovered && !this.cursor.hidden) this.#hover(this.hovered);
  }
}
