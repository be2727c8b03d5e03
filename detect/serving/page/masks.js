// Masks: from COCO's compressed run-length encoding to a small canvas.

const OPACITY = 0.45;

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

// The part of a mask that holds the object: its position and size in pixels of the image, and 0 or 1 for each pixel in
// column-major order. Null for an empty mask.
export function decodeMask({ size: [height], counts }) {
  const ranges = []; // [column, first row, end row]
  let position = 0;
  decodeRuns(counts).forEach((length, i) => {
    const end = position + length;
    while (i % 2 && position < end) {
      const column = Math.floor(position / height);
      const stop = Math.min(end, (column + 1) * height);
      ranges.push([column, position - column * height, stop - column * height]);
      position = stop;
    }
    position = end;
  });
  if (ranges.length === 0) return null;
  const [left, right] = [ranges[0][0], ranges[ranges.length - 1][0] + 1];
  const top = ranges.reduce((least, [, first]) => Math.min(least, first), height);
  const bottom = ranges.reduce((most, [, , end]) => Math.max(most, end), 0);
  const rows = bottom - top;
  const pixels = new Uint8Array((right - left) * rows);
  for (const [column, first, end] of ranges) {
    const start = (column - left) * rows - top;
    pixels.fill(1, start + first, start + end);
  }
  return { left, top, width: right - left, height: rows, pixels };
}

// A canvas with the mask in one color [r, g, b]: translucent inside, opaque in a contour of `line` pixels. The canvas
// has `scale` of its pixels per pixel of the image, and belongs at (x, y) of a drawing of that scale.
export function maskCanvas(segmentation, color, line, scale) {
  const mask = decodeMask(segmentation);
  if (!mask) return null;
  const [x, y] = [Math.floor(mask.left * scale), Math.floor(mask.top * scale)];
  const width = Math.max(1, Math.ceil((mask.left + mask.width) * scale) - x);
  const height = Math.max(1, Math.ceil((mask.top + mask.height) * scale) - y);
  const inside = resampled(mask, x, y, width, height, scale);
  const isInside = (column, row) =>
    column >= 0 && row >= 0 && column < width && row < height && inside[row * width + column];
  const image = new ImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const i = row * width + column;
      if (!inside[i]) continue;
      const isDeep =
        isInside(column - line, row) && isInside(column + line, row) && isInside(column, row - line) && isInside(column, row + line);
      image.data.set(color, 4 * i);
      image.data[4 * i + 3] = isDeep ? 255 * OPACITY : 255;
    }
  }
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return { canvas, x, y };
}

// 0 or 1 for each pixel of a drawing, in row-major order: that of the pixel of the mask at its center.
function resampled(mask, x, y, width, height, scale) {
  const inside = new Uint8Array(width * height);
  const source = (position, start, size) => Math.min(size - 1, Math.max(0, Math.floor((position + 0.5) / scale) - start));
  const rows = Array.from({ length: height }, (_, row) => source(y + row, mask.top, mask.height));
  for (let column = 0; column < width; column++) {
    const start = source(x + column, mask.left, mask.width) * mask.height;
    for (let row = 0; row < height; row++) inside[row * width + column] = mask.pixels[start + rows[row]];
  }
  return inside;
}
