// Requests to the REST API of this server.

const MAX_RETRIES = 5; // of a request that the server refuses because it is busy
const MAX_WAIT = 20; // seconds; after a longer time the user decides
let key = "";

// An error of the server, or of the connection (status 0).
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function setKey(text) {
  key = text;
}

export const hasKey = () => key !== "";
export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const headers = () => (key ? { Authorization: `Bearer ${key}` } : {});

function problem(status, text, fallback) {
  let detail = fallback;
  try {
    detail = JSON.parse(text).detail;
  } catch {
    // not a problem document, for example of a web server in front
  }
  return new ApiError(status, detail || `the server answers with status ${status}`);
}

// The response to a request. A busy server is asked again; onWait(seconds) is called before each wait.
export async function request(path, { onWait = () => {}, ...options } = {}) {
  for (let retries = 0; ; retries++) {
    const response = await fetch(path, { ...options, headers: headers() }).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "no answer from the server");
    });
    if (response.ok) return response;
    const seconds = Number(response.headers.get("Retry-After")) || MAX_WAIT;
    if (response.status !== 503 || retries === MAX_RETRIES || seconds > MAX_WAIT) {
      throw problem(response.status, await response.text(), response.statusText);
    }
    onWait(seconds);
    await sleep(seconds);
  }
}

// Sends an image. Its name begins each error, so that it is clear which of several images is meant.
export async function postImage(file, query, options = {}) {
  const form = new FormData();
  form.append("image", file, file.name);
  try {
    return await request(`v1/detect?${query}`, { ...options, method: "POST", body: form });
  } catch (error) {
    throw about(file, error);
  }
}

// The error, with the name of the file and, where the connection ended, the most probable reason.
function about(file, error) {
  if (!(error instanceof ApiError) || error.status === 401) return error;
  const size = `${(file.size / 1e6).toFixed(1)} MB`;
  const reason = error.status ? "" : `; it may have stopped, or the file may be too large for it (${size})`;
  const name = error.message.includes(file.name) ? "" : `${file.name}: `;
  return new ApiError(error.status, `${name}${error.message}${reason}`);
}

// Sends a video; onProgress(fraction) is called during the upload, which fetch does not report.
export function postVideo(file, query, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const upload = new XMLHttpRequest();
    upload.open("POST", `v1/detect/video?${query}`);
    for (const [name, value] of Object.entries(headers())) upload.setRequestHeader(name, value);
    upload.upload.addEventListener("progress", ({ loaded, total }) => onProgress(loaded / total));
    upload.addEventListener("load", () => {
      if (upload.status < 400) resolve(JSON.parse(upload.responseText));
      else reject(about(file, problem(upload.status, upload.responseText, upload.statusText)));
    });
    upload.addEventListener("error", () => reject(about(file, new ApiError(0, "no answer from the server"))));
    upload.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal.addEventListener("abort", () => upload.abort());
    const form = new FormData();
    form.append("video", file, file.name);
    upload.send(form);
  });
}
