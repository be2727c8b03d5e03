// Draws detections on a canvas: masks, boxes and labels, and one detection so that it stands out.

import { maskCanvas } from "./masks.js";
import { contrasting, css, rgbOf } from "./palette.js";

const FEW = 20; // detections whose labels fit on an image in large letters
const MAX_COVER = 0.25; // sum of the fractions of the objects that a label may cover
const OWN = 0.5; // importance of the label's own object, which it may cover more than others
const SMALL = 0.7; // size of the letters of short labels, relative to others
const CHIP = 0.45; // side of a chip of color, relative to the size of the letters
const PIXELS_PER_LINE = 24; // side of an object whose lines have one pixel more
const masks = new WeakMap(); // detection -> its mask, as drawn last

// The color of a detection as [r, g, b]: that of its class.
export const colorOf = (detection, classes) => rgbOf(classes.findIndex(({ name }) => name === detection.name));

const areaOf = ([left, top, right, bottom]) => (right - left) * (bottom - top);
const lineWidth = ({ width, height }, unit) => Math.round(Math.max(2 * unit, Math.sqrt(width * height) / 320));

// Width of the lines of an object, of which the widest have `widest` pixels.
const lineOf = (box, widest) =>
  Math.min(widest, Math.max(Math.ceil(widest / 2), Math.round(Math.sqrt(areaOf(box)) / PIXELS_PER_LINE)));

function maskOf(detection, color, line, scale) {
  const key = `${color} ${line} ${scale}`;
  if (masks.get(detection)?.key !== key) {
    masks.set(detection, { key, mask: maskCanvas(detection.segmentation, color, line, scale) });
  }
  return masks.get(detection).mask;
}

// Draws an image with detections, which are in descending order of score. Small objects are drawn on top of large ones.
// canvas: as large as base.canvas, the image, which has base.scale of its pixels per pixel of the detections.
// unit: pixels of the canvas per pixel of the screen, so that lines and letters are legible on a small screen.
// shown: {masks, boxes, labels, scores}, each true or false; classes: those of the model.
export function paint(canvas, { canvas: image, scale }, unit, detections, shown, classes) {
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const widest = lineWidth(canvas, unit);
  const objects = detections.map((detection) => {
    const box = detection.box_xyxy.map((value) => value * scale);
    return { detection, color: colorOf(detection, classes), box, line: lineOf(box, widest) };
  });
  const largestFirst = objects.toSorted((a, b) => areaOf(b.box) - areaOf(a.box));
  for (const { detection, color, line } of largestFirst) {
    const mask = shown.masks && detection.segmentation && maskOf(detection, color, line, scale);
    if (mask) context.drawImage(mask.canvas, mask.x, mask.y);
  }
  if (shown.boxes) for (const { box, color, line } of largestFirst) paintBox(context, box, color, line);
  if (shown.labels) paintLabels(context, objects, shown.scores, unit);
}

function paintBox(context, [left, top, right, bottom], color, line) {
  for (const [width, style] of [[line + 2, "rgb(0 0 0 / 45%)"], [line, css(color)]]) { // a dark rim, for similar backgrounds
    context.lineWidth = width;
    context.strokeStyle = style;
    context.strokeRect(left, top, right - left, bottom - top);
  }
}

const fontSize = ({ width, height }, count, unit) =>
  Math.max(11 * unit, (Math.sqrt(width * height) / 38) * Math.min(1, Math.sqrt(FEW / Math.max(count, 1))));

const fontOf = (size) => `${size}px system-ui, sans-serif`;

function labelOf(context, { detection, color }, size, hasScore) {
  const text = hasScore ? `${detection.name} ${detection.score.toFixed(2)}` : detection.name;
  context.font = fontOf(size);
  return { text, color, size, width: context.measureText(text).width + size / 2, height: size * 1.3 };
}

function paintLabel(context, { text, color, size, width, height }, [x, y]) {
  context.font = fontOf(size);
  context.fillStyle = css(color);
  context.fillRect(x, y, width, height);
  context.fillStyle = contrasting(color);
  context.fillText(text, x + size / 4, y + size);
}

// Higher scores choose their positions first. Where there is no position for a label, the name alone is written in small
// letters, and where there is none for this either, the object gets a chip of its color.
function paintLabels(context, objects, hasScore, unit) {
  const size = fontSize(context.canvas, objects.length, unit);
  const small = Math.max(10 * unit, size * SMALL);
  const placed = [];
  for (const object of objects) {
    const weighted = objects.map((one) => ({ box: one.box, weight: one === object ? OWN : 1 }));
    const occupied = placed.map(({ place }) => place);
    for (const label of [labelOf(context, object, size, hasScore), labelOf(context, object, small, false)]) {
      const position = labelPosition(context.canvas, object.box, label, occupied, weighted);
      if (!position) continue;
      placed.push({ object, label, position, place: boxAt(position, label) });
      break;
    }
  }
  const labelled = new Set(placed.map(({ object }) => object));
  for (const object of objects) if (!labelled.has(object)) paintChip(context, object, size * CHIP);
  for (const { label, position } of placed) paintLabel(context, label, position);
}

// Fills the upper left corner of a box, at most a third of its width and height.
function paintChip(context, { box: [left, top, right, bottom], color }, side) {
  const [width, height] = [Math.min(side, (right - left) / 3), Math.min(side, (bottom - top) / 3)];
  context.fillStyle = contrasting(color);
  context.fillRect(left, top, width + 1, height + 1);
  context.fillStyle = css(color);
  context.fillRect(left, top, width, height);
}

const boxAt = ([x, y], { width, height }) => [x, y, x + width, y + height];

function intersection([left, top, right, bottom], [x0, y0, x1, y1]) {
  return Math.max(0, Math.min(right, x1) - Math.max(left, x0)) * Math.max(0, Math.min(bottom, y1) - Math.max(top, y0));
}

// The positions of a label at a box, inside the canvas: above, inside, below.
function candidates({ width, height }, [left, top, right, bottom], label) {
  const clamp = (value, max) => Math.max(0, Math.min(value, max));
  return [
    [left, top - label.height], [right - label.width, top - label.height], [left, top], [left, bottom],
    [right - label.width, bottom], [left, bottom - label.height], [right - label.width, top],
  ].map(([x, y]) => [clamp(x, width - label.width), clamp(y, height - label.height)]);
}

// The top left corner at which a label covers no other label and least of the objects; null if there is none.
function labelPosition(canvas, box, label, occupied, objects) {
  let [best, least] = [null, MAX_COVER];
  for (const position of candidates(canvas, box, label)) {
    const place = boxAt(position, label);
    if (occupied.some((other) => intersection(place, other) > 0)) continue;
    const fractions = objects.map((one) => (one.weight * intersection(place, one.box)) / Math.max(1, areaOf(one.box)));
    const cover = fractions.reduce((sum, value) => sum + value, 0);
    if (cover < least) [best, least] = [position, cover];
  }
  return best;
}

// Darkens everything but one detection, which gets a strong box and its label. null: nothing stands out.
export function paintHighlight(canvas, { scale }, unit, detection, color) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!detection) return;
  const box = detection.box_xyxy.map((value) => value * scale);
  const [left, top, right, bottom] = box;
  const line = lineWidth(canvas, unit);
  context.fillStyle = "rgb(0 0 0 / 55%)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.clearRect(left, top, right - left, bottom - top);
  // The lines are outside of the box, so that they do not cover a small object.
  for (const [width, style] of [[3 * line + 2, "#000"], [3 * line, "#fff"], [line + 1, css(color)]]) {
    context.lineWidth = width;
    context.strokeStyle = style;
    context.strokeRect(left - width / 2, top - width / 2, right - left + width, bottom - top + width);
  }
  const label = labelOf(context, { detection, color }, fontSize(canvas, 1, unit), true);
  const positions = candidates(canvas, box, label);
  paintLabel(context, label, positions.find((one) => intersection(boxAt(one, label), box) === 0) ?? positions[0]);
}
