// Requests all detections that it can show once per image, and filters them in the browser when the controls change.

import { colorOf, paint } from "./paint.js";

const MIN_SCORE = 0.05;
const $ = (id) => document.getElementById(id);
let models = [];
let lastFile = null; // the file that was chosen last
let current = null; // {file, bitmap, response, model} of the image that is shown
let numRequests = 0;

async function request(path, options = {}) {
  const headers = $("key").value ? { Authorization: `Bearer ${$("key").value}` } : {};
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  if (response.status === 401) {
    $("key-row").hidden = false;
    $("key").focus();
    throw new Error("enter the API key of this server");
  }
  throw new Error(problem.detail);
}

function postImage(file, query) {
  const form = new FormData();
  form.append("image", file, file.name || "image");
  return request(`v1/detect?${query}`, { method: "POST", body: form });
}

function showStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

const showError = (error) => showStatus(error.message, true);
const selectedModel = () => models.find(({ name }) => name === $("model").value);
const classBoxes = () => [...$("class-list").querySelectorAll("input")];

async function loadModels() {
  const previous = $("model").value;
  models = (await (await request("v1/models")).json()).models;
  $("model").replaceChildren(...models.map(({ name }) => new Option(name, name)));
  if (models.some(({ name }) => name === previous)) $("model").value = previous;
  else showModel();
}

function showModel() {
  const model = selectedModel();
  showOwnThresholds();
  $("save-masks").hidden = !model.masks;
  const labels = model.classes.map(({ name }) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, value: name });
    box.addEventListener("change", show);
    label.append(box, ` ${name}`);
    return label;
  });
  $("class-list").replaceChildren(...labels);
  $("classes").hidden = labels.length < 2;
  showThreshold();
}

// Minimum score of a class: that of the model, or after the slider was moved the same for all classes.
function thresholdOf({ threshold }) {
  return $("own-thresholds").checked ? threshold : Number($("threshold").value);
}

function showOwnThresholds() {
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

async function detect(file) {
  const number = ++numRequests; // responses to earlier requests are ignored
  lastFile = file;
  if (!selectedModel()) return loadModels().then(() => detect(file), showError);
  const model = selectedModel();
  $("canvas").classList.add("outdated");
  showStatus(`processing ${file.name || "the image"} ...`);
  try {
    const query = new URLSearchParams({ model: model.name, threshold: Math.min(MIN_SCORE, model.threshold) });
    const response = await (await postImage(file, query)).json();
    const bitmap = await orientedBitmap(file, response.images[0], model.name);
    if (number !== numRequests) return;
    current = { file, bitmap, response, model };
    $("canvas").classList.remove("outdated");
    show();
  } catch (error) {
    if (number !== numRequests) return;
    current = null;
    for (const id of ["canvas", "downloads", "detections"]) $(id).hidden = true;
    showError(error);
  }
}

// The image as the server sees it. For a format that the browser cannot decode, or for which it ignores the EXIF
// orientation (WebP in Chromium), the server returns the image without detections.
async function orientedBitmap(file, { width, height }, modelName) {
  const bitmap = file.type === "image/webp" ? null : await createImageBitmap(file).catch(() => null);
  if (bitmap && bitmap.width === width && bitmap.height === height) return bitmap;
  const query = new URLSearchParams({ model: modelName, threshold: 1, format: "image" });
  return createImageBitmap(await (await postImage(file, query)).blob());
}

// Name -> minimum score of the classes that are shown.
function shownClasses() {
  const names = new Set(classBoxes().filter((box) => box.checked).map((box) => box.value));
  const classes = current.model.classes.filter(({ name }) => names.has(name));
  return new Map(classes.map((one) => [one.name, thresholdOf(one)]));
}

function shownDetections() {
  const thresholds = shownClasses();
  const isShown = ({ name, score }) => Math.fround(score) >= Math.fround(thresholds.get(name)); // as the server compares
  return current.response.images[0].detections.filter(isShown);
}

function show() {
  showThreshold();
  if (!current || current.model.name !== selectedModel()?.name) return;
  const detections = shownDetections();
  const { classes } = current.model;
  const options = { masks: $("show-masks").checked, boxes: $("show-boxes").checked, classes };
  paint($("canvas"), current.bitmap, detections, options);
  for (const id of ["canvas", "downloads"]) $(id).hidden = false;
  $("detections").hidden = detections.length === 0;
  const rows = detections.map((one, i) => tableRow(one, colorOf(one, i, classes)));
  $("detections").tBodies[0].replaceChildren(...rows);
  const noun = detections.length === 1 ? "object" : "objects";
  const [image] = current.response.images;
  const lowest = Math.min(...shownClasses().values());
  const atLimit = image.limit_reached && image.detections.every((one) => one.score >= lowest);
  const limit = atLimit ? "; this is the maximum of the model" : "";
  showStatus(`${detections.length} ${noun}, ${current.response.seconds.toFixed(2)} s${limit}`);
}

function tableRow(detection, color) {
  const [left, top, right, bottom] = detection.box_xyxy;
  const row = document.createElement("tr");
  const pixels = [left, top, right - left, bottom - top].map((value) => value.toFixed(0));
  for (const text of [detection.name, detection.score.toFixed(2), ...pixels]) row.insertCell().textContent = text;
  row.cells[0].style.borderLeft = `0.5rem solid ${color}`;
  row.cells[0].style.paddingLeft = "0.5rem";
  return row;
}

function save(blob, suffix) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${(current.file.name || "image").replace(/\.[^.]*$/, "")}${suffix}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function saveMasks() {
  if (shownDetections().length === 0) return showStatus("there are no masks to save", true);
  const query = new URLSearchParams({ model: current.model.name, format: "masks" });
  if (!$("own-thresholds").checked) query.set("threshold", $("threshold").value);
  if (!classBoxes().every((box) => box.checked)) {
    for (const box of classBoxes().filter((one) => one.checked)) query.append("classes", box.value);
  }
  try {
    save(await (await postImage(current.file, query)).blob(), "_masks.zip");
  } catch (error) {
    showError(error);
  }
}

function saveJson() {
  const [image] = current.response.images;
  const content = { ...current.response, images: [{ ...image, detections: shownDetections() }] };
  save(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }), ".json");
}

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file").value = ""; // so that the same file can be chosen again
  if (file) detect(file);
});
for (const [id, checked] of [["select-all", true], ["select-none", false]]) {
  $(id).addEventListener("click", () => {
    for (const box of classBoxes()) box.checked = checked;
    show();
  });
}
$("model").addEventListener("change", () => {
  showModel();
  if (lastFile) detect(lastFile);
});
$("threshold").addEventListener("input", () => {
  $("own-thresholds").checked = false;
  show();
});
$("own-thresholds").addEventListener("input", () => {
  if ($("own-thresholds").checked) showOwnThresholds();
  show();
});
for (const id of ["show-masks", "show-boxes"]) $(id).addEventListener("input", show);
$("key").addEventListener("change", () => {
  loadModels().then(() => (current ? show() : showStatus("")), showError);
});
$("save-image").addEventListener("click", () => $("canvas").toBlob((blob) => save(blob, "_detections.png")));
$("save-masks").addEventListener("click", saveMasks);
$("save-json").addEventListener("click", saveJson);
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("active", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) detect(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => event.clipboardData.files[0] && detect(event.clipboardData.files[0]));
loadModels().then(show, showError);
