// Draws detections on a canvas: masks from COCO's run-length encoding, boxes, labels.

const GOLDEN_RATIO = 0.618034; // steps of this fraction of the color wheel keep consecutive hues apart
const MASK_OPACITY = 0.45;

// The color of a detection: one per class, or one per object for a model with a single class.
export function colorOf(detection, index, classes) {
  const number = classes.length > 1 ? classes.findIndex(({ name }) => name === detection.name) : index;
  return `hsl(${((0.95 + number * GOLDEN_RATIO) % 1) * 360} 85% 50%)`;
}

// Run lengths of a compressed mask, alternating between background and object, in column-major order
// (https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c, rleFrString).
function decodeRuns(counts) {
  const runs = [];
  let position = 0;
  while (position < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      const bits = counts.charCodeAt(position++) - 48;
      value |= (bits & 31) << shift;
      more = (bits & 32) !== 0;
      shift += 5;
      if (!more && bits & 16) value |= -1 << shift;
    }
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

// Whether a color "#rrggbb" is dark, by its luma as in ITU-R BT.601. A canvas returns every color in this form.
function isDark(color) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
}

// Fills the runs of a mask, column by column. The rectangles do not overlap, so the opacity is uniform.
function paintMask(context, { size: [height], counts }, color) {
  context.fillStyle = color;
  context.globalAlpha = MASK_OPACITY;
  let position = 0;
  decodeRuns(counts).forEach((length, i) => {
    const end = position + length;
    while (i % 2 && position < end) {
      const column = Math.floor(position / height);
      const stop = Math.min(end, (column + 1) * height);
      context.fillRect(column, position - column * height, 1, stop - position);
      position = stop;
    }
    position = end;
  });
  context.globalAlpha = 1;
}

function paintBox(context, [left, top, right, bottom], color) {
  context.strokeStyle = color;
  context.strokeRect(left, top, right - left, bottom - top);
}

// Draws the bitmap with detections, which are in descending order of score. Higher scores are drawn on top.
export function paint(canvas, bitmap, detections, { masks, boxes, classes }) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  context.lineWidth = Math.max(1, Math.round(Math.max(canvas.width, canvas.height) / 400));
  const ascending = detections.map((one, i) => [one, colorOf(one, i, classes)]).reverse();
  if (masks) {
    for (const [one, color] of ascending) if (one.segmentation) paintMask(context, one.segmentation, color);
  }
  if (!boxes) return;
  for (const [one, color] of ascending) paintBox(context, one.box_xyxy, color);
  paintLabels(canvas, context, ascending);
}

function paintLabels(canvas, context, ascending) {
  const fontSize = Math.max(11, context.lineWidth * 8);
  context.font = `${fontSize}px system-ui, sans-serif`;
  // Higher scores choose their positions first.
  const occupied = [];
  const labels = ascending.toReversed().map(([one, color]) => {
    const text = `${one.name} ${one.score.toFixed(2)}`;
    const [width, height] = [context.measureText(text).width + fontSize / 2, fontSize * 1.3];
    const [x, y] = labelPosition(canvas, one.box_xyxy, [width, height], occupied);
    occupied.push([x, y, x + width, y + height]);
    return { text, color, x, y, width, height };
  });
  for (const { text, color, x, y, width, height } of labels.reverse()) {
    context.fillStyle = color;
    context.fillRect(x, y, width, height);
    context.fillStyle = isDark(context.fillStyle) ? "#fff" : "#000";
    context.fillText(text, x + fontSize / 4, y + fontSize);
  }
}

// The top left corner of a label: at its box, inside the canvas and, if possible, not on another label.
function labelPosition(canvas, [left, top, right, bottom], [width, height], occupied) {
  const clamp = (value, max) => Math.max(0, Math.min(value, max));
  const candidates = [
    [left, top - height], [left, top], [right - width, top - height],
    [left, bottom], [left, bottom - height], [right - width, bottom],
  ].map(([x, y]) => [clamp(x, canvas.width - width), clamp(y, canvas.height - height)]);
  const isFree = ([x, y]) =>
    occupied.every(([x0, y0, x1, y1]) => x >= x1 || x0 >= x + width || y >= y1 || y0 >= y + height);
  return candidates.find(isFree) ?? candidates[0];
}
