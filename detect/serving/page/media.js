// Images in the browser: their size, decoding, and conversion to files.

import { ApiError, contentOf, postImage } from "./api.js";

const MAX_SHOWN = 4_000_000; // pixels of an image on the page; larger ones are reduced
const [ICON, SMALL] = [200, 900]; // an image whose longest side is between them is enlarged, to twice its size at most
const MAX_PREVIEW = 64_000_000; // pixels of an image that is decoded before the server has accepted it
const THUMBNAIL = 128; // height in pixels, for screens with two pixels per CSS pixel
const VIDEO_NAME = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|flv|ogv)$/i; // of those that browsers do not know

export const isVideo = ({ type, name }) => type.startsWith("video/") || (!type && VIDEO_NAME.test(name));

// Width and height of an image file, from its header; null if the browser does not know the format.
function imageSize(file) {
  return new Promise((resolve) => {
    const image = new Image();
    const url = URL.createObjectURL(file);
    const end = (size) => {
      URL.revokeObjectURL(url);
      resolve(size);
    };
    image.addEventListener("load", () => end({ width: image.naturalWidth, height: image.naturalHeight }));
    image.addEventListener("error", () => end(null));
    image.src = url;
  });
}

const reduction = ({ width, height }) => Math.min(1, Math.sqrt(MAX_SHOWN / (width * height)));

// Scale at which the page shows an image: a large one is reduced, and a small one enlarged, so that it fills its place.
function shownScale(bitmap) {
  const side = Math.max(bitmap.width, bitmap.height);
  return side > ICON && side < SMALL ? Math.min(2, SMALL / side) : reduction(bitmap);
}

// A canvas with the bitmap, resized by the factor `scale`. Closes the bitmap.
function resized(bitmap, scale) {
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const base = { canvas, scale: width / bitmap.width, width: bitmap.width, height: bitmap.height };
  bitmap.close();
  return base;
}

// The image {canvas, scale, width, height} while the server processes it; null if it cannot be shown yet.
export async function preview(file) {
  const size = await imageSize(file);
  if (!size || size.width * size.height > MAX_PREVIEW) return null;
  const bitmap = await createImageBitmap(file).catch(() => null);
  return bitmap && resized(bitmap, shownScale(bitmap));
}

// Whether the browser decodes the file as the server does: Chromium ignores the EXIF orientation of WebP.
export const isExact = (file, base, { width, height }) =>
  base !== null && file.type !== "image/webp" && base.width === width && base.height === height;

// The image as the server sees it, with its size there. For a format that the browser cannot decode, or whose EXIF
// orientation it ignores, the server returns the image without detections.
export async function decoded(file, size, scaleOf = shownScale) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (isExact(file, bitmap, size)) return resized(bitmap, scaleOf(bitmap));
  bitmap?.close();
  const query = new URLSearchParams({ format: "image", draw: false });
  const blob = await contentOf(await postImage(file, query), "blob");
  const image = await createImageBitmap(blob).catch(() => {
    throw new ApiError(0, `this browser cannot show ${file.name}; the table lists its objects`);
  });
  return resized(image, scaleOf(image));
}

// The file of a canvas, in the format of `file` if the browser can write it, else as PNG.
export function encoded(canvas, file) {
  const type = ["image/jpeg", "image/webp"].includes(file.type) ? file.type : "image/png";
  return new Promise((resolve) => {
    canvas.toBlob(resolve, type, 0.95);
  });
}

export const suffixOf = (blob) => ({ "image/jpeg": ".jpg", "image/webp": ".webp" })[blob.type] ?? ".png";

// The current frame of a video as a JPEG file, for example of the camera. Raises an Error before the first frame.
export async function photo(video, name) {
  if (video.videoWidth === 0) throw new Error("the camera has no image yet");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await encoded(canvas, { type: "image/jpeg" });
  return new File([blob], name, { type: blob.type });
}

// A small canvas with the image, as high as the entries of the strip; null if it cannot be shown.
export async function thumbnail(file) {
  const size = await imageSize(file);
  if (!size || size.width * size.height > MAX_PREVIEW) return null;
  const bitmap = await createImageBitmap(file, { resizeHeight: THUMBNAIL, resizeQuality: "high" }).catch(() => null);
  return bitmap && resized(bitmap, reduction(bitmap)).canvas;
}
