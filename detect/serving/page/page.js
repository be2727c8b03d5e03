// The page asks once for whatever scores at least LOWEST and then shows what the user wants to see of it.

import { paint, palette } from "./paint.js";

const LOWEST = 0.05;
const $ = (id) => document.getElementById(id);
let models = [];
let given = null; // the file that was chosen last
let image = null; // {file, bitmap, answer, model} of the last that was looked at
let looks = 0;

async function ask(path, options = {}) {
  const headers = $("key").value ? { Authorization: `Bearer ${$("key").value}` } : {};
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  if (response.status === 401) {
    $("key-row").hidden = false;
    $("key").focus();
    throw new Error("type the key of this server");
  }
  throw new Error(problem.detail);
}

function say(words, wrong = false) {
  $("status").textContent = words;
  $("status").classList.toggle("wrong", wrong);
}

const model = () => models.find((one) => one.name === $("model").value);

async function listModels() {
  const former = $("model").value;
  models = (await (await ask("v1/models")).json()).models;
  $("model").replaceChildren(...models.map((one) => new Option(one.name, one.name)));
  if (models.some(({ name }) => name === former)) $("model").value = former;
  else chooseModel();
}

function chooseModel() {
  $("threshold").value = model().threshold;
  $("save-masks").hidden = !model().masks;
  const boxes = model().classes.map(({ name }) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true, value: name });
    box.addEventListener("change", show);
    label.append(box, ` ${name}`);
    return label;
  });
  $("class-list").replaceChildren(...boxes);
  $("classes").hidden = boxes.length < 2;
  tellThreshold();
}

function tellThreshold() {
  $("threshold-shown").textContent = Number($("threshold").value).toFixed(2);
}

async function look(file) {
  const number = ++looks; // the answer to an earlier one may come later
  given = file;
  if (!model()) return listModels().then(() => look(file), (error) => say(error.message, true));
  const asked = model();
  $("canvas").classList.add("old");
  say(`looking at ${file.name || "the image"} ...`);
  const form = new FormData();
  form.append("image", file, file.name || "image");
  try {
    const query = new URLSearchParams({ model: asked.name, threshold: LOWEST });
    const answer = await (await ask(`v1/detect?${query}`, { method: "POST", body: form })).json();
    const bitmap = await asTheServerSees(file, answer.images[0], asked.name, form);
    if (number !== looks) return;
    image = { file, bitmap, answer, model: asked };
    $("canvas").classList.remove("old");
    show();
  } catch (error) {
    if (number !== looks) return;
    image = null;
    for (const id of ["canvas", "downloads", "found"]) $(id).hidden = true;
    say(error.message, true);
  }
}

// Of a format that the browser does not know, or does not turn as EXIF says, which is WebP in Chromium, the server sends
// the image, with nothing drawn on it.
async function asTheServerSees(file, { width, height }, name, form) {
  const own = file.type === "image/webp" ? null : await createImageBitmap(file).catch(() => null);
  if (own && own.width === width && own.height === height) return own;
  const query = new URLSearchParams({ model: name, threshold: 1, format: "image" });
  return createImageBitmap(await (await ask(`v1/detect?${query}`, { method: "POST", body: form })).blob());
}

function wanted() {
  const names = new Set([...$("classes").querySelectorAll("input:checked")].map((box) => box.value));
  const least = Number($("threshold").value);
  return image.answer.images[0].detections.filter((one) => one.score >= least && names.has(one.name));
}

function show() {
  tellThreshold();
  if (!image || image.model.name !== model()?.name) return;
  const found = wanted();
  const options = { masks: $("show-masks").checked, boxes: $("show-boxes").checked, classes: image.model.classes };
  paint($("canvas"), image.bitmap, found, options);
  for (const id of ["canvas", "downloads"]) $(id).hidden = false;
  $("found").hidden = found.length === 0;
  $("found").tBodies[0].replaceChildren(...found.map((one, i) => row(one, palette(one, i, options.classes))));
  const { seconds } = image.answer;
  say(`${found.length} ${found.length === 1 ? "object" : "objects"}, ${seconds.toFixed(2)} s`);
}

function row(one, color) {
  const [left, top, right, bottom] = one.box_xyxy;
  const line = document.createElement("tr");
  const numbers = [left, top, right - left, bottom - top].map((value) => value.toFixed(0));
  for (const text of [one.name, one.score.toFixed(2), ...numbers]) line.insertCell().textContent = text;
  line.cells[0].style.borderLeft = `0.5rem solid ${color}`;
  line.cells[0].style.paddingLeft = "0.5rem";
  return line;
}

function save(blob, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${(image.file.name || "image").replace(/\.[^.]*$/, "")}${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function saveMasks() {
  if (wanted().length === 0) return say("there are no masks to save", true);
  const form = new FormData();
  form.append("image", image.file, image.file.name || "image");
  const query = new URLSearchParams({ model: image.model.name, threshold: $("threshold").value, format: "masks" });
  const boxes = [...$("classes").querySelectorAll("input")];
  if (!boxes.every((box) => box.checked)) {
    for (const box of boxes.filter((box) => box.checked)) query.append("classes", box.value);
  }
  try {
    save(await (await ask(`v1/detect?${query}`, { method: "POST", body: form })).blob(), "_masks.zip");
  } catch (error) {
    say(error.message, true);
  }
}

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  $("file").value = ""; // so that the same may be chosen once more
  if (file) look(file);
});
for (const [id, checked] of [["all", true], ["none", false]]) {
  $(id).addEventListener("click", () => {
    for (const box of $("classes").querySelectorAll("input")) box.checked = checked;
    show();
  });
}
$("model").addEventListener("change", () => { chooseModel(); if (given) look(given); });
for (const id of ["threshold", "show-masks", "show-boxes"]) $(id).addEventListener("input", show);
$("key").addEventListener("change", () => {
  listModels().then(() => (image ? show() : say("")), (error) => say(error.message, true));
});
$("save-image").addEventListener("click", () => $("canvas").toBlob((blob) => save(blob, "_found.png")));
$("save-masks").addEventListener("click", saveMasks);
$("save-json").addEventListener("click", () => {
  const [image] = image.answer.images;
  const shown = { ...image.answer, images: [{ ...image, detections: wanted() }] };
  save(new Blob([JSON.stringify(shown, null, 1)], { type: "application/json" }), ".json");
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) look(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => event.clipboardData.files[0] && look(event.clipboardData.files[0]));
listModels().then(show, (error) => say(error.message, true));
