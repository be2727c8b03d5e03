// Where images and videos come from: files, drag and drop, the clipboard, examples, the camera.

import { contentOf, request } from "./api.js";
import { photo } from "./media.js";

const $ = (id) => document.getElementById(id);
// Images of the package. Each is offered for models that know its class, all for models that know none of the classes.
const EXAMPLES = [
  { file: "example_balloons.jpg", name: "balloons.jpg", class: "balloon", text: "balloons in front of a wall" },
  { file: "example_sky.jpg", name: "sky.jpg", class: "balloon", text: "many balloons in the sky" },
  { file: "example_cup.jpg", name: "cup.jpg", class: "cup", text: "a cup of coffee" },
  { file: "example_cat.jpg", name: "cat.jpg", class: "cat", text: "a cat" },
  { file: "example_portrait.jpg", name: "portrait.jpg", class: "person", text: "a person in uniform" },
];
const CAMERA_ERRORS = {
  NotAllowedError: "the browser does not allow this page to use the camera; allow it in the settings of the site",
  NotFoundError: "this device has no camera",
  NotReadableError: "the camera is in use by another program",
};

// Calls add(files) when an example is clicked, and notify(text) if it cannot be loaded.
export function showExamples(model, add, notify) {
  const known = EXAMPLES.filter((one) => model.classes.some(({ name }) => name === one.class));
  const buttons = (known.length ? known : EXAMPLES).map((one) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "thumbnail" });
    button.append(Object.assign(new Image(), { src: `page/${one.file}`, alt: one.text }));
    button.addEventListener("click", async () => {
      try {
        const blob = await contentOf(await request(`page/${one.file}`), "blob");
        add([new File([blob], one.name, { type: blob.type })]);
      } catch (error) {
        notify(`${one.name}: ${error.message}`);
      }
    });
    return button;
  });
  $("example-list").replaceChildren(...buttons);
  $("examples").hidden = false;
}

function listenToDrops(add, notify) {
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("active", name === "dragover");
    });
  }
  document.addEventListener("drop", ({ dataTransfer }) => {
    const isFolder = [...dataTransfer.items].some((one) => one.webkitGetAsEntry?.()?.isDirectory);
    if (isFolder) notify("a folder cannot be dropped; select the files in it");
    else add([...dataTransfer.files]);
  });
}

async function openCamera(notify) {
  if (!navigator.mediaDevices) {
    notify("browsers allow the camera on pages with https and on localhost only; choose or take a photo as a file");
    return;
  }
  try {
    const video = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
    $("camera-video").srcObject = await navigator.mediaDevices.getUserMedia({ video });
    $("camera").showModal();
  } catch (error) {
    notify(CAMERA_ERRORS[error.name] ?? `the camera does not start: ${error.message}`);
  }
}

function listenToCamera(add, notify) {
  let photos = 0;
  $("open-camera").addEventListener("click", () => openCamera(notify));
  $("close-camera").addEventListener("click", () => $("camera").close());
  $("camera-video").addEventListener("loadeddata", () => {
    $("take-photo").disabled = false;
    $("take-photo").focus();
  });
  $("take-photo").addEventListener("click", async () => {
    $("take-photo").disabled = true;
    const taken = photo($("camera-video"), `photo_${++photos}.jpg`); // draws the frame at once
    $("camera").close();
    try {
      add([await taken]);
    } catch (error) {
      notify(error.message);
    }
  });
  $("camera").addEventListener("close", () => {
    for (const track of $("camera-video").srcObject?.getTracks() ?? []) track.stop();
    $("camera-video").srcObject = null;
    $("take-photo").disabled = true;
  });
}

// Calls add(files) with what the user chooses, and notify(text) when something is not possible.
export function listen(add, notify) {
  $("file").addEventListener("change", () => {
    const files = [...$("file").files];
    $("file").value = ""; // so that the same file can be chosen again
    add(files);
  });
  document.addEventListener("paste", (event) => add([...event.clipboardData.files]));
  listenToDrops(add, notify);
  listenToCamera(add, notify);
}
