// Files to download: images in the format of the input, masks, JSON, annotated videos.

import { contentOf, postImage } from "./api.js";
import { decoded, encoded, suffixOf } from "./media.js";
import { paint } from "./paint.js";
import * as settings from "./settings.js";

const fullSize = () => 1;

const stem = (file) => file.name.replace(/\.[^.]*$/, "");
const shown = (item) => settings.filtered(item.image.detections, item.model);

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Saves the image in its full size with the detections that are shown.
export async function saveImage(item) {
  const base = await decoded(item.file, item.image, fullSize);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [base.width, base.height];
  paint(canvas, base, 1, shown(item), settings.drawn(), item.model.classes);
  const blob = await encoded(canvas, item.file);
  if (!blob) throw new Error(`${item.file.name} is too large for this browser; detect_image.py can save it`);
  save(blob, `${stem(item.file)}_detections${suffixOf(blob)}`);
}

export async function saveMasks(item) {
  if (shown(item).length === 0) throw new Error("there are no masks to save");
  const response = await postImage(item.file, settings.masksQuery(item.model));
  save(await contentOf(response, "blob"), `${stem(item.file)}_masks.zip`);
}

// Saves one file with the detections of all images that are shown, as the server returns them for several images.
export function saveJson(items) {
  const seconds = items.reduce((sum, { response }) => sum + response.seconds, 0);
  const images = items.map((item) => settings.shownImage(item.image, item.model));
  const text = JSON.stringify({ ...items[0].response, seconds, images }, null, 1);
  const name = items.length === 1 ? `${stem(items[0].file)}.json` : "detections.json";
  save(new Blob([text], { type: "application/json" }), name);
}

export const saveVideo = ({ file, result }) => save(result.video, `${stem(file)}_detections.mp4`);
export const saveFrames = ({ file, result }) => save(result.frames, `${stem(file)}.jsonl`);
