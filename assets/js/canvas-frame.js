// The frame of an outpainting, drawn around the picture: what is added, and what falls away where a side lies inside.

/** Left, top, right, bottom of picture and frame together, in the picture's pixels. */
export const bounds = ({ width, height }, [left, top, right, bottom]) => [Math.min(0, -left), Math.min(0, -top), Math.max(width, width + right), Math.max(height, height + bottom)];

/** `x` and `y` turn the picture's pixels into dots; `ratio` is dots per CSS pixel. */
export function drawFrame(context, { width, height }, [left, top, right, bottom], x, y, ratio) {
  if (!left && !top && !right && !bottom) return;
  const frame = box(x(-left), y(-top), x(width + right), y(height + bottom));
  const picture = box(x(0), y(0), x(width), y(height));
  context.save();
  context.fillStyle = "rgb(128 128 128 / 28%)";
  context.fill(without(frame, picture), "evenodd");
  context.fillStyle = "rgb(0 0 0 / 60%)";
  context.save();
  context.clip(pathOf(picture));
  context.fill(without(box(0, 0, context.canvas.width, context.canvas.height), frame), "evenodd");
  context.restore();
  context.lineWidth = ratio;
  for (const [colour, dash] of [["#000", []], ["#fff", [6 * ratio, 6 * ratio]]]) {
    context.strokeStyle = colour;
    context.setLineDash(dash);
    context.stroke(pathOf(frame));
  }
  context.restore();
}

const box = (x0, y0, x1, y1) => [x0, y0, Math.max(0, x1 - x0), Math.max(0, y1 - y0)];

function pathOf(...boxes) {
  const path = new Path2D();
  for (const sides of boxes) path.rect(...sides);
  return path;
}

/** `outer` with a hole where `inner` lies; they may overlap in any way. */
function without(outer, inner) {
  const [x0, y0] = [Math.max(outer[0], inner[0]), Math.max(outer[1], inner[1])];
  const [x1, y1] = [Math.min(outer[0] + outer[2], inner[0] + inner[2]), Math.min(outer[1] + outer[3], inner[1] + inner[3])];
  return x1 > x0 && y1 > y0 ? pathOf(outer, box(x0, y0, x1, y1)) : pathOf(outer);
}
