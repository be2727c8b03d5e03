// Draws what was found: masks from COCO's run-length code, boxes, labels.

const GOLDEN = 0.618034; // steps of the golden section keep neighbours on the color wheel far apart

// Of a class; where a model knows but one, of an object.
export function palette(one, index, classes) {
  const number = classes.length > 1 ? classes.findIndex(({ name }) => name === one.name) : index;
  return `hsl(${((0.95 + number * GOLDEN) % 1) * 360} 85% 50%)`;
}

// The runs of a compressed code, by turns outside and inside, column by column
// (https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c, rleFrString).
function runs(counts) {
  const found = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      const bits = counts.charCodeAt(at++) - 48;
      value |= (bits & 31) << shift;
      more = (bits & 32) !== 0;
      shift += 5;
      if (!more && bits & 16) value |= -1 << shift;
    }
    found.push(found.length > 2 ? value + found[found.length - 2] : value);
  }
  return found;
}

// A canvas gives every color back as "#rrggbb"; luma as in ITU-R BT.601.
function isDark(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
}

// The pieces of columns that a mask covers, which do not overlap.
function paintMask(context, { size: [height], counts }, color) {
  context.fillStyle = color;
  context.globalAlpha = 0.45;
  let at = 0;
  runs(counts).forEach((length, i) => {
    for (let end = at + length; i % 2 && at < end; ) {
      const column = Math.floor(at / height);
      const stop = Math.min(end, (column + 1) * height);
      context.fillRect(column, at - column * height, 1, stop - at);
      at = stop;
    }
    if (i % 2 === 0) at += length;
  });
  context.globalAlpha = 1;
}

export function paint(canvas, bitmap, found, { masks, boxes, classes }) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const line = Math.max(1, Math.round(Math.max(canvas.width, canvas.height) / 400));
  const letters = Math.max(11, line * 8);
  context.font = `${letters}px system-ui, sans-serif`;
  context.lineWidth = line;
  const worstFirst = found.map((one, i) => [one, palette(one, i, classes)]).reverse();
  if (masks) {
    for (const [one, color] of worstFirst) if (one.segmentation) paintMask(context, one.segmentation, color);
  }
  if (!boxes) return;
  for (const [one, color] of worstFirst) {
    const [left, top, right, bottom] = one.box_xyxy;
    context.strokeStyle = color;
    context.strokeRect(left, top, right - left, bottom - top);
  }
  // The best choose their places first, and lie on top where there is none.
  const taken = [];
  const labels = worstFirst.toReversed().map(([one, color]) => {
    const text = `${one.name} ${one.score.toFixed(2)}`;
    const [width, height] = [context.measureText(text).width + letters / 2, letters * 1.3];
    const [x, y] = placeOf(canvas, one.box_xyxy, [width, height], taken);
    taken.push([x, y, x + width, y + height]);
    return { text, color, x, y, width, height };
  });
  for (const { text, color, x, y, width, height } of labels.reverse()) {
    context.fillStyle = color;
    context.fillRect(x, y, width, height);
    context.fillStyle = isDark(context.fillStyle) ? "#fff" : "#000";
    context.fillText(text, x + letters / 4, y + letters);
  }
}

// Of a label: inside the image at a corner of its box, if it can be on no other.
function placeOf(canvas, [left, top, right, bottom], [width, height], taken) {
  const corners = [
    [left, top - height], [left, top], [right - width, top - height],
    [left, bottom], [left, bottom - height], [right - width, bottom],
  ];
  const within = (value, most) => Math.max(0, Math.min(value, most));
  const places = corners.map(([x, y]) => [within(x, canvas.width - width), within(y, canvas.height - height)]);
  const isFree = ([x, y]) => taken.every(([x0, y0, x1, y1]) => x >= x1 || x0 >= x + width || y >= y1 || y0 >= y + height);
  return places.find(isFree) ?? places[0];
}
