// Shows one image with its detections: canvas and table, in which the same object stands out.

import { moveWithArrows, setTabStop } from "./keyboard.js";
import { decoded, isExact, preview } from "./media.js";
import { colorOf, paint, paintHighlight } from "./paint.js";
import { css } from "./palette.js";
import * as settings from "./settings.js";

const $ = (id) => document.getElementById(id);
let item = null; // the image that is shown
let base = null; // {canvas, scale, width, height} of the image without detections; null if it cannot be shown yet
let previewed = null; // promise of the image as the browser decodes it
let exact = null; // promise of the image as the server decodes it, where this differs
let unit = 1; // pixels of the canvas per CSS pixel
let detections = []; // those that are shown
let marked = null; // index of the detection that stands out

const rows = () => [...$("detections").tBodies[0].rows];
const color = (index) => colorOf(detections[index], item.model.classes);

export function hide() {
  item = base = previewed = exact = null;
  detections = [];
  $("stage").hidden = $("results").hidden = true;
}

// Shows an image of the page's list, or what has changed about it. Raises the errors of requests.
export async function show(shown) {
  if (shown !== item) {
    hide();
    item = shown;
    previewed = preview(shown.file);
  }
  const loaded = await loadedImage(shown);
  if (item !== shown) return;
  base = loaded;
  if (shown.state === "done") settings.sortClasses(shown.image.detections, shown.model);
  draw();
}

// The image to draw on. It is loaded once, however often it is asked for.
async function loadedImage(shown) {
  const loaded = await previewed;
  if (item !== shown || shown.state !== "done" || isExact(shown.file, loaded, shown.image)) return loaded;
  exact ??= decoded(shown.file, shown.image);
  try {
    return await exact;
  } catch (error) {
    if (item === shown) exact = null; // the next call tries again
    throw error;
  }
}

// Draws the detections again, for example with other settings.
export function draw() {
  if (!item) return;
  detections = [];
  if (item.state === "done") {
    detections = settings.filtered(item.image.detections, item.model);
    settings.showCounts(item.image.detections, item.model);
  }
  marked = null;
  $("stage").hidden = base === null;
  $("canvas").setAttribute("aria-label", `${item.file.name}, ${detections.length} objects`);
  drawImage();
  $("results").hidden = detections.length === 0;
  $("detections").tBodies[0].replaceChildren(...detections.map(tableRow));
  setTabStop(rows(), 0);
}

function drawImage() {
  if (!base) return;
  for (const id of ["canvas", "highlight"]) {
    $(id).width = base.canvas.width;
    $(id).height = base.canvas.height;
  }
  unit = base.canvas.width / $("canvas").clientWidth;
  paint($("canvas"), base, unit, detections, settings.drawn(), item.model?.classes ?? []);
  drawHighlight();
}

function drawHighlight() {
  if (base) paintHighlight($("highlight"), base, unit, detections[marked], marked === null ? null : color(marked));
}

// Draws lines and letters for the size that the image has on the screen.
function followWidth() {
  let width = 0; // the height changes while a phone scrolls
  const observer = new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width !== width) drawImage();
    width = contentRect.width;
  });
  observer.observe($("view"));
}

function tableRow(detection, index) {
  const [left, top, right, bottom] = detection.box_xyxy;
  const row = document.createElement("tr");
  const pixels = [left, top, right - left, bottom - top].map((value) => value.toFixed(0));
  for (const text of [detection.name, detection.score.toFixed(2), ...pixels]) row.insertCell().textContent = text;
  row.cells[0].style.borderLeftColor = css(color(index));
  return row;
}

// Makes one detection stand out in the image and in the table; null for none.
function mark(index) {
  if (index === marked) return;
  rows()[marked]?.classList.remove("marked");
  marked = index;
  rows()[index]?.classList.add("marked");
  drawHighlight();
}

// Scrolls the table, but not the page, to the detection that stands out.
function scrollToMarked() {
  const frame = $("table-frame");
  const row = rows()[marked];
  if (!row) return;
  const head = $("detections").tHead.offsetHeight;
  if (row.offsetTop - head < frame.scrollTop) frame.scrollTop = row.offsetTop - head;
  const end = row.offsetTop + row.offsetHeight - frame.clientHeight;
  if (end > frame.scrollTop) frame.scrollTop = end;
}

// Index of the smallest box at a position of the pointer, null if there is none.
function detectionAt({ offsetX, offsetY }) {
  if (!base) return null;
  const perPixel = base.width / $("canvas").clientWidth;
  const [x, y] = [offsetX * perPixel, offsetY * perPixel];
  let [found, smallest] = [null, Infinity];
  detections.forEach(({ box_xyxy: [left, top, right, bottom] }, i) => {
    const area = (right - left) * (bottom - top);
    if (x >= left && x <= right && y >= top && y <= bottom && area < smallest) [found, smallest] = [i, area];
  });
  return found;
}

function indexOfRow(event) {
  const index = rows().indexOf(event.target.closest("tr"));
  return index < 0 ? null : index;
}

const focusedRow = () => {
  const index = rows().indexOf(document.activeElement);
  return index < 0 ? null : index;
};

export function listen() {
  followWidth();
  const body = $("detections").tBodies[0];
  body.addEventListener("pointerover", (event) => mark(indexOfRow(event)));
  body.addEventListener("pointerleave", () => mark(focusedRow()));
  body.addEventListener("focusin", (event) => {
    mark(indexOfRow(event));
    $("table-frame").style.scrollMarginTop = `${$("stage").offsetHeight}px`; // which stays at the top of the window
    $("table-frame").scrollIntoView({ block: "nearest" });
  });
  body.addEventListener("focusout", () => mark(null));
  moveWithArrows(body, "tr");
  for (const name of ["pointermove", "pointerdown"]) {
    $("highlight").addEventListener(name, (event) => {
      mark(detectionAt(event));
      scrollToMarked();
    });
  }
  $("highlight").addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") mark(focusedRow()); // after a touch it goes on to stand out
  });
}
