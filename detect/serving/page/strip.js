// The row of small images by which one of several images and videos is selected.

import { moveWithArrows, setTabStop } from "./keyboard.js";
import { thumbnail } from "./media.js";

const strip = document.getElementById("strip");
const entries = new Map(); // item -> its button
const STATES = { waiting: "waiting", working: "processing", failed: "error", done: "finished" };

export function add(item, onSelect) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "thumbnail" });
  const image = Object.assign(document.createElement("span"), { className: "image" });
  image.textContent = item.kind === "video" ? "▶" : "";
  const name = Object.assign(document.createElement("span"), { className: "name", textContent: item.file.name });
  const state = Object.assign(document.createElement("span"), { className: "state" });
  button.append(image, name, state);
  button.addEventListener("click", () => onSelect(item));
  const place = document.createElement("li");
  place.append(button);
  strip.append(place);
  entries.set(item, button);
  update(item);
}

// Adds the small images one after the other, since each has to be decoded.
export async function addThumbnails(items) {
  for (const item of items.filter(({ kind }) => kind === "image")) {
    const canvas = await thumbnail(item.file);
    if (canvas) entries.get(item)?.querySelector(".image").replaceChildren(canvas);
  }
}

// Shows the state of an item; objects: number of those that are shown in a finished image.
export function update(item, objects) {
  const button = entries.get(item);
  if (!button) return;
  button.dataset.state = item.state;
  button.title = item.message ?? item.file.name;
  const count = objects === 1 ? "1 object" : `${objects} objects`;
  button.querySelector(".state").textContent = objects === undefined ? STATES[item.state] : count;
}

export function select(item) {
  const buttons = [...entries.values()];
  for (const [one, button] of entries) button.setAttribute("aria-pressed", one === item);
  setTabStop(buttons, buttons.indexOf(entries.get(item)));
  entries.get(item)?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

export function clear() {
  entries.clear();
  strip.replaceChildren();
}

moveWithArrows(strip, "button");
