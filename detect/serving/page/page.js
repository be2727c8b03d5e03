// The page: a list of images and videos, which are processed in turn, and the one of them that is shown.

import * as api from "./api.js";
import * as downloads from "./downloads.js";
import * as imageView from "./image_view.js";
import { isVideo } from "./media.js";
import * as settings from "./settings.js";
import * as sources from "./sources.js";
import * as strip from "./strip.js";
import { processVideo } from "./video_job.js";

const $ = (id) => document.getElementById(id);
// Each has {file, kind: image or video, state: waiting, working, done or failed, message, progress: {text, fraction}},
// and when it is done {response, image, model} of an image or {result} of a video.
const items = [];
let selected = null; // the item that is shown
const running = new Set(); // the kinds of items that are being processed
let needsKey = false;
let connectAttempts = 0;

const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const images = () => items.filter(({ kind }) => kind === "image");
const finished = () => images().filter(({ state }) => state === "done");

async function connect() {
  const attempt = ++connectAttempts;
  if (!selected) showStatus("");
  try {
    await settings.loadModels();
  } catch (error) {
    if (attempt === connectAttempts) handle(error); // a later attempt has another key
    return;
  }
  needsKey = false;
  if ($("key-form").contains(document.activeElement)) $("file").focus(); // before its place disappears
  $("key-form").hidden = true;
  sources.showExamples(settings.selectedModel(), add, notify);
  if (selected) refresh(selected);
  run();
}

function add(files) {
  if (files.length === 0) return;
  const added = files.map((file) => ({ file, kind: isVideo(file) ? "video" : "image", state: "waiting" }));
  items.push(...added);
  for (const item of added) strip.add(item, select);
  strip.addThumbnails(added);
  document.body.classList.add("in-use");
  select(added[0]);
  if (settings.selectedModel()) run();
  else connect();
}

// Processes the images that wait, and beside them the videos, which are jobs of the server.
function run() {
  runAll("image", runImage);
  runAll("video", runVideo);
}

// Processes the items of a kind that wait, one after the other, first that which is shown.
async function runAll(kind, process) {
  const next = () => [selected, ...items].find((one) => one?.kind === kind && one.state === "waiting");
  if (running.has(kind)) return;
  running.add(kind);
  for (let item = next(); item && !needsKey; item = next()) await process(item);
  running.delete(kind);
}

// Sets the state of an item to the result of `process(signal)`, unless it has been reset meanwhile.
async function runItem(item, process) {
  const controller = new AbortController();
  Object.assign(item, { state: "working", controller, message: null, progress: { text: "processing", fraction: null } });
  refresh(item);
  let change;
  try {
    change = { ...(await process(controller.signal)), state: "done" };
  } catch (error) {
    const text = error.name === "AbortError" ? `${item.file.name}: cancelled` : error.message;
    change = { state: error.status === 401 ? "waiting" : "failed", message: text };
    if (error.status === 401) handle(error);
  }
  if (item.controller !== controller) return;
  Object.assign(item, change);
  refresh(item);
}

function runImage(item) {
  const model = settings.selectedModel();
  const onWait = (seconds) => setProgress(item, { text: `the server is busy, next try in ${seconds} s`, fraction: null });
  return runItem(item, async (signal) => {
    const answer = await api.postImage(item.file, settings.imageQuery(model), { signal, onWait });
    const response = await api.contentOf(answer, "json");
    return { response, image: response.images[0], model };
  });
}

function runVideo(item) {
  return runItem(item, async (signal) => {
    if (!settings.hasClasses()) throw new Error(`${item.file.name}: select a class, then process it again`);
    const query = settings.videoQuery(settings.selectedModel());
    const result = await processVideo(item.file, query, (progress) => setProgress(item, progress), signal);
    return { result, message: result.job.detail };
  });
}

function reset(item) {
  const { controller } = item;
  Object.assign(item, { state: "waiting", controller: null, message: null });
  controller?.abort();
  refresh(item);
}

function clear() {
  for (const { controller } of items.splice(0)) controller?.abort();
  strip.clear();
  select(null);
}

function select(item) {
  selected = item;
  strip.select(item);
  $("several").hidden = items.length < 2;
  refresh(item);
}

function setProgress(item, progress) {
  item.progress = progress;
  if (item === selected) showProgress();
}

// Shows what has changed about an item.
function refresh(item) {
  if (item) updateStrip(item);
  if (item === selected) showSelected();
  else showActions();
}

function updateStrip(item) {
  strip.update(item, item.kind === "image" && item.state === "done" ? shown(item).length : undefined);
}

const shown = (item) => settings.filtered(item.image.detections, item.model);

async function showSelected() {
  const item = selected;
  const isResult = item?.kind === "image" && item.state === "done";
  if (!isResult) showSummary();
  showVideo();
  let failure = null;
  try {
    if (item?.kind === "image") await imageView.show(item);
    else imageView.hide();
  } catch (error) {
    failure = error;
  }
  if (item !== selected) return;
  if (isResult) showSummary(); // now that the image is there
  if (failure) handle(failure);
}

// Draws with other settings.
function redraw() {
  for (const item of finished()) updateStrip(item);
  if (selected?.kind === "image") imageView.draw();
  showSummary();
}

// Everything about the item that is shown, except the image itself.
function showSummary() {
  const item = selected;
  showStatus(!item || (needsKey && item.state === "waiting") ? "" : summary(item), item?.state === "failed");
  showActions();
}

// Shows the progress, and the buttons that have an effect now.
function showActions() {
  const item = selected;
  const isFailed = item?.state === "failed";
  showProgress();
  const [isImage, isDone] = [item?.kind === "image", item?.state === "done"];
  $("downloads").hidden = !(isDone || isFailed);
  for (const id of ["save-image", "save-json"]) $(id).hidden = !(isImage && isDone);
  $("save-masks").hidden = !(isImage && isDone && item.model.masks);
  $("save-all").hidden = finished().length < 2;
  for (const id of ["save-video", "save-frames"]) $(id).hidden = isImage || !isDone;
  $("again").hidden = isImage && isDone;
  $("downloads").querySelector("span").hidden = !isDone && finished().length < 2;
}

function summary(item) {
  if (item.state === "failed") return item.message;
  if (item.state === "waiting") return `${item.file.name}: waiting`;
  if (item.state === "working") return `processing ${item.file.name} ...`;
  if (item.kind === "video") return `${counted(item.result.job.frames, "frame")} processed${item.message ? `; ${item.message}` : ""}`;
  const { detections: { length }, limit_reached: isLimited } = settings.shownImage(item.image, item.model);
  const notes = [`${counted(length, "object")}, ${item.response.seconds.toFixed(2)} s`];
  if (isLimited) notes.push("this is the maximum of the model");
  if (length === 0) {
    const { uncertain, unselected } = settings.numHidden(item.image.detections, item.model);
    notes.push(settings.findsInWords(item.model));
    if (uncertain > 0) notes.push(`${counted(uncertain, "uncertain detection")} below the minimum score`);
    if (unselected > 0) notes.push(`${counted(unselected, "detection")} of classes that are not selected`);
  }
  return notes.join("; ");
}

function showStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

// The progress of the item that is shown; with several images that of all of them.
function showProgress() {
  const item = selected;
  const total = images().length;
  const done = images().filter(({ state }) => ["done", "failed"].includes(state)).length;
  const isSeveral = item?.kind === "image" && total > 1;
  $("working").hidden = isSeveral ? done === total || needsKey : item?.state !== "working";
  if ($("working").hidden) return;
  let { text, fraction } = item.progress ?? { text: "", fraction: null };
  if (isSeveral) [text, fraction] = [`${done} of ${total} images`, done / total];
  $("progress-text").textContent = text;
  if (fraction === null) $("progress").removeAttribute("value");
  else $("progress").value = fraction;
  $("cancel").hidden = item.kind !== "video";
}

// Plays the video that was chosen, and after success the annotated one.
function showVideo() {
  const video = $("video");
  const file = selected?.kind === "video" ? (selected.result?.video ?? selected.file) : null;
  video.hidden = file === null;
  if (video.file === file) return;
  video.file = file;
  if (video.src) URL.revokeObjectURL(video.src);
  if (file) video.src = URL.createObjectURL(file);
  else video.removeAttribute("src");
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (selected?.result && !isCalm) video.play().catch(() => {}); // a browser may refuse, and there are controls
}

const notify = (text) => showStatus(text, true);

function handle(error) {
  if (error.status === 401) askForKey();
  else notify(error.message);
}

function askForKey() {
  needsKey = true;
  showStatus("");
  $("key-form").hidden = false;
  $("key-message").textContent = api.hasKey() ? "The server does not accept this API key. Check it and try again." : "";
  $("key").setAttribute("aria-invalid", api.hasKey());
  $("key").select();
}

// Calls a function when a button is pressed. The button cannot be pressed again until it has ended.
function onPress(id, action) {
  $(id).addEventListener("click", async () => {
    $(id).disabled = true;
    await Promise.resolve(action()).catch(handle);
    $(id).disabled = false;
  });
}

onPress("save-image", () => downloads.saveImage(selected));
onPress("save-all", async () => {
  for (const item of finished()) await downloads.saveImage(item);
});
onPress("save-masks", () => downloads.saveMasks(selected));
onPress("save-json", async () => downloads.saveJson(finished()));
onPress("save-video", async () => downloads.saveVideo(selected));
onPress("save-frames", async () => downloads.saveFrames(selected));
$("clear").addEventListener("click", clear);
$("cancel").addEventListener("click", () => selected.controller.abort());
$("again").addEventListener("click", () => {
  reset(selected);
  run();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setKey($("key").value);
  connect();
});
$("video").addEventListener("error", () => {
  $("video").hidden = true; // a format that browsers do not play
});
settings.listen({
  onModel: () => {
    images().forEach(reset);
    sources.showExamples(settings.selectedModel(), add, notify);
    run();
  },
  onChange: redraw,
});
imageView.listen();
sources.listen(add, notify);
connect();
