// A video: upload, progress of its job on the server, and its result.

import { contentOf, postVideo, request, sleep } from "./api.js";

const INTERVAL = 1; // seconds between two requests for the progress
const MAX_FAILURES = 10; // failed requests in a row until a job is given up

function timeLeft(job, start) {
  const seconds = (((performance.now() - start) / 1000) * (job.total_frames - job.frames)) / job.frames;
  if (!Number.isFinite(seconds) || seconds < 0 || job.frames < 5) return "";
  const text = seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
  return `, about ${text} left`;
}

// How far a job is: {text, fraction}, where null means that the fraction is unknown.
function progressOf(job, start) {
  if (job.state === "waiting") return { text: "waiting for another video", fraction: null };
  if (!job.total_frames) return { text: `frame ${job.frames}`, fraction: null };
  const fraction = Math.min(1, job.frames / job.total_frames);
  return { text: `frame ${job.frames} of ${job.total_frames}${timeLeft(job, start)}`, fraction };
}

// The content ("json" or "blob") at the URL of a job, whose work is not lost when the connection or a web server in front
// fails for a while.
async function fetched(url, kind, { signal, onFailure }) {
  for (let failures = 1; ; failures++) {
    try {
      return await contentOf(await request(url, { signal, maxRetries: 0 }), kind);
    } catch (error) {
      const isTemporary = error.status === 0 || error.status >= 500;
      if (!isTemporary || failures === MAX_FAILURES) throw error;
      onFailure(error);
      await sleep(failures * INTERVAL, signal);
    }
  }
}

// Processes a video and returns {job, video, frames}: its last status, the annotated video and the detections of each
// frame as blobs. Then the server has deleted them. onProgress: called with {text, fraction}.
// Raises the errors of requests, an Error if the job fails, and AbortError when `signal` is aborted.
export async function processVideo(file, query, onProgress, signal) {
  const onUpload = (fraction) => onProgress({ text: `upload ${Math.round(fraction * 100)} %`, fraction });
  const onWait = (seconds) => onProgress({ text: `the server is busy, next try in ${seconds} s`, fraction: null });
  const onFailure = ({ message }) => onProgress({ text: `${message}; trying again`, fraction: null });
  onUpload(0);
  let job = await postVideo(file, query, { onProgress: onUpload, onWait, signal });
  const url = `v1/jobs/${job.id}`;
  const remove = () => request(url, { method: "DELETE", keepalive: true }).catch(() => {}); // it expires anyway
  window.addEventListener("pagehide", remove);
  try {
    const start = performance.now();
    while (["waiting", "running"].includes(job.state)) {
      onProgress(progressOf(job, start));
      await sleep(INTERVAL, signal);
      job = await fetched(url, "json", { signal, onFailure });
    }
    if (job.state !== "done") throw new Error(`${file.name}: ${job.detail ?? `the job is ${job.state}`}`);
    onProgress({ text: "download", fraction: null });
    const [video, frames] = await Promise.all(
      ["result", "detections"].map((name) => fetched(`${url}/${name}`, "blob", { signal, onFailure })),
    );
    return { job, video, frames };
  } finally {
    window.removeEventListener("pagehide", remove);
    remove();
  }
}
