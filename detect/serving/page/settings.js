// The settings: model, minimum scores, classes, what is drawn, tiles, frames of videos.

import { contentOf, request } from "./api.js";

const MIN_SCORE = 0.05; // the page requests all detections that it can show, and filters them itself
const MANY_CLASSES = 12; // from which there is a search field
const NAMED_CLASSES = 5; // of a model, in a sentence
const $ = (id) => document.getElementById(id);
let models = [];

export const selectedModel = () => models.find(({ name }) => name === $("model").value);
const classRows = () => [...$("class-list").children];
const boxOf = (row) => row.querySelector("input");
const checkedNames = () => classRows().map(boxOf).filter((box) => box.checked).map((box) => box.value);
export const hasClasses = () => checkedNames().length > 0;
const hasAllClasses = () => checkedNames().length === classRows().length;

export async function loadModels() {
  const previous = $("model").value;
  models = (await contentOf(await request("v1/models"), "json")).models;
  $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  if (models.some(({ name }) => name === previous)) $("model").value = previous;
  else showModel();
}

// What a model finds, in one sentence.
export function findsInWords({ classes }) {
  const names = classes.slice(0, NAMED_CLASSES).map(({ name }) => name).join(", ");
  return `this model finds: ${names}${classes.length > NAMED_CLASSES ? ` and ${classes.length - NAMED_CLASSES} more` : ""}`;
}

function showModel() {
  const model = selectedModel();
  resetThreshold();
  $("finds").textContent = findsInWords(model);
  $("show-masks").closest("label").hidden = !model.masks;
  $("class-list").replaceChildren(...model.classes.map(({ name }) => classRow(name)));
  $("find-class").value = "";
  $("find-class").hidden = model.classes.length < MANY_CLASSES;
  $("classes").hidden = model.classes.length < 2;
  showThreshold();
}

function classRow(name) {
  const label = Object.assign(document.createElement("label"), { className: "check" });
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, value: name });
  const count = Object.assign(document.createElement("span"), { className: "count" });
  label.append(box, ` ${name} `, count);
  return label;
}

// Minimum score of a class: that of the model, or after the slider was moved the same for all classes.
function thresholdOf({ threshold }) {
  return $("own-thresholds").checked ? threshold : Number($("threshold").value);
}

function resetThreshold() {
  $("own-thresholds").checked = true;
  $("threshold").value = selectedModel().threshold;
}

function showThreshold() {
  const model = selectedModel();
  if (!model) return;
  const thresholds = model.classes.map(thresholdOf);
  const [lowest, highest] = [Math.min(...thresholds), Math.max(...thresholds)];
  const range = lowest === highest ? [lowest] : [lowest, highest];
  $("threshold-value").textContent = range.map((value) => value.toFixed(2)).join(" to ");
}

// Name -> minimum score of the classes of a model that are shown.
export function shownClasses(model) {
  const names = new Set(checkedNames());
  return new Map(model.classes.filter(({ name }) => names.has(name)).map((one) => [one.name, thresholdOf(one)]));
}

const isAtLeast = (score, threshold) => Math.fround(score) >= Math.fround(threshold); // as the server compares
const isAbove = ({ name, score }, thresholds) => isAtLeast(score, thresholds.get(name));

export function filtered(detections, model) {
  const thresholds = shownClasses(model);
  return detections.filter((one) => isAbove(one, thresholds));
}

// An image with the detections that are shown, as the server returns it for these classes and minimum scores.
export function shownImage(image, model) {
  const lowest = Math.min(...shownClasses(model).values());
  const isLimited = image.limit_reached && image.detections.every(({ score }) => isAtLeast(score, lowest));
  return { ...image, limit_reached: isLimited, detections: filtered(image.detections, model) };
}

// Number of detections of each class with at least its minimum score, also of those that are not shown: {name: number}.
function countsOf(detections, model) {
  const thresholds = new Map(model.classes.map((one) => [one.name, thresholdOf(one)]));
  const counts = {};
  for (const one of detections) if (isAbove(one, thresholds)) counts[one.name] = (counts[one.name] ?? 0) + 1;
  return counts;
}

// Why detections are not shown: numbers of those below the minimum score of their class, and of others not selected.
export function numHidden(detections, model) {
  const atLeast = Object.values(countsOf(detections, model)).reduce((sum, count) => sum + count, 0);
  return { uncertain: detections.length - atLeast, unselected: atLeast - filtered(detections, model).length };
}

// Shows beside each class how many objects the image has.
export function showCounts(detections, model) {
  const counts = countsOf(detections, model);
  for (const row of classRows()) row.querySelector(".count").textContent = counts[boxOf(row).value] ?? "";
}

// Puts the classes of which an image has objects at the beginning of the list.
export function sortClasses(detections, model) {
  const counts = countsOf(detections, model);
  const order = new Map(model.classes.map(({ name }, i) => [name, name in counts ? i - model.classes.length : i]));
  const rows = classRows();
  $("class-list").append(...rows.sort((a, b) => order.get(boxOf(a).value) - order.get(boxOf(b).value)));
}

export const drawn = () => ({
  masks: $("show-masks").checked, boxes: $("show-boxes").checked,
  labels: $("show-labels").checked, scores: $("show-scores").checked,
});

// The query for all detections of an image that the page can show.
export function imageQuery(model) {
  const query = new URLSearchParams({ model: model.name, threshold: Math.min(MIN_SCORE, model.threshold) });
  if ($("tile").value) query.set("tile", $("tile").value);
  return query;
}

// The query for the detections that are shown now.
function shownQuery(model) {
  const query = new URLSearchParams({ model: model.name });
  if (!$("own-thresholds").checked) query.set("threshold", $("threshold").value);
  if (!hasAllClasses()) for (const name of checkedNames()) query.append("classes", name);
  return query;
}

export function masksQuery(model) {
  const query = shownQuery(model);
  query.set("format", "masks");
  if ($("tile").value) query.set("tile", $("tile").value);
  return query;
}

export function videoQuery(model) {
  const query = shownQuery(model);
  query.set("stride", $("stride").value);
  return query;
}

// Calls onModel when all images have to be processed again, and onChange when only the drawing changes.
export function listen({ onModel, onChange }) {
  $("model").addEventListener("change", () => {
    showModel();
    onModel();
  });
  $("tile").addEventListener("change", onModel);
  $("threshold").addEventListener("input", () => {
    $("own-thresholds").checked = false;
    showThreshold();
    onChange();
  });
  $("own-thresholds").addEventListener("input", () => {
    if ($("own-thresholds").checked) resetThreshold();
    showThreshold();
    onChange();
  });
  for (const id of ["show", "class-list"]) $(id).addEventListener("input", onChange);
  for (const [id, checked] of [["select-all", true], ["select-none", false]]) {
    $(id).addEventListener("click", () => {
      for (const row of classRows()) if (!row.hidden) boxOf(row).checked = checked;
      onChange();
    });
  }
  $("find-class").addEventListener("input", () => {
    const text = $("find-class").value.trim().toLowerCase();
    for (const row of classRows()) row.hidden = !boxOf(row).value.toLowerCase().includes(text);
  });
}
