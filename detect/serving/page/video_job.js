// A video: upload, progress of its job on the server, and its result.

import { postVideo, request, sleep } from "./api.js";

const INTERVAL = 1; // seconds between two requests for the progress

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

// Processes a video and returns {job, video, frames}: its last status, the annotated video and the detections of each
// frame as blobs. Then the server has deleted them. onProgress: called with {text, fraction}.
// Raises the errors of requests, an Error if the job fails, and AbortError when `signal` is aborted.
export async function processVideo(file, query, onProgress, signal) {
  const onUpload = (fraction) => onProgress({ text: `upload ${Math.round(fraction * 100)} %`, fraction });
  onUpload(0);
  let job = await postVideo(file, query, onUpload, signal);
  const url = `v1/jobs/${job.id}`;
  const remove = () => request(url, { method: "DELETE", keepalive: true }).catch(() => {}); // it expires anyway
  window.addEventListener("pagehide", remove);
  try {
    const start = performance.now();
    while (["waiting", "running"].includes(job.state)) {
      onProgress(progressOf(job, start));
      await sleep(INTERVAL);
      signal.throwIfAborted();
      job = await (await request(url)).json();
    }
    if (job.state !== "done") throw new Error(`${file.name}: ${job.detail ?? `the job is ${job.state}`}`);
    onProgress({ text: "download", fraction: null });
    const [video, frames] = await Promise.all(
      ["result", "detections"].map(async (name) => (await request(`${url}/${name}`)).blob()),
    );
    return { job, video, frames };
  } finally {
    window.removeEventListener("pagehide", remove);
    remove();
  }
}
