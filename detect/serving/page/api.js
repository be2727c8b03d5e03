// Requests to the REST API of this server.

const MAX_RETRIES = 5; // of a request that the server refuses because it is busy
const MAX_WAIT = 20; // seconds; after a longer time the user decides
let key = "";

// An error of the server, or of the connection (status 0). retryAfter: seconds until a busy server can be asked again.
export class ApiError extends Error {
  constructor(status, detail, retryAfter = MAX_WAIT) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const noAnswer = () => new ApiError(0, "no answer from the server");
const noContent = () => new ApiError(0, "the answer is incomplete, or not from this server");

export function setKey(text) {
  key = text;
}

export const hasKey = () => key !== "";

// The key is sent as UTF-8: a header has a byte for each character.
function headers() {
  return key ? { Authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(key))}` } : {};
}

// Waits. Raises AbortError as soon as `signal` is aborted.
export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

function problem(status, text, fallback, retryAfter) {
  let detail = fallback;
  try {
    detail = JSON.parse(text).detail;
  } catch {
    // not a problem document, for example of a web server in front
  }
  return new ApiError(status, detail || `the server answers with status ${status}`, Number(retryAfter) || MAX_WAIT);
}

// The result of send(). A busy server is asked again; onWait(seconds) is called before each wait.
async function retried(send, { onWait = () => {}, maxRetries = MAX_RETRIES, signal }) {
  for (let retries = 0; ; retries++) {
    try {
      return await send();
    } catch (error) {
      if (error.status !== 503 || retries >= maxRetries || error.retryAfter > MAX_WAIT) throw error;
      onWait(error.retryAfter);
      await sleep(error.retryAfter, signal);
    }
  }
}

// Raises AbortError as it is, and `otherwise` in place of any other error.
const replaceError = (otherwise) => (error) => {
  throw error.name === "AbortError" ? error : otherwise();
};

// The response to a request. options: those of `fetch` and of `retried`.
export function request(path, { onWait, maxRetries, ...options } = {}) {
  const send = async () => {
    const response = await fetch(path, { ...options, headers: headers() }).catch(replaceError(noAnswer));
    if (response.ok) return response;
    const text = await response.text().catch(replaceError(noContent));
    throw problem(response.status, text, response.statusText, response.headers.get("Retry-After"));
  };
  return retried(send, { onWait, maxRetries, signal: options.signal });
}

// The content of a response as "json" or "blob".
export const contentOf = (response, kind) => response[kind]().catch(replaceError(noContent));

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

// Sends a video, and returns the status of its job. options: {onProgress, onWait, signal}; onProgress(fraction) is called
// during the upload.
export async function postVideo(file, query, options) {
  try {
    return await retried(() => upload(file, query, options), options);
  } catch (error) {
    throw about(file, error);
  }
}

// Sends a video with XMLHttpRequest, since fetch does not report how far the upload is.
function upload(file, query, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const sent = new XMLHttpRequest();
    sent.open("POST", `v1/detect/video?${query}`);
    for (const [name, value] of Object.entries(headers())) sent.setRequestHeader(name, value);
    sent.upload.addEventListener("progress", ({ loaded, total }) => onProgress(loaded / total));
    sent.addEventListener("load", () => {
      const { status, statusText, responseText } = sent;
      if (status >= 400) {
        reject(problem(status, responseText, statusText, sent.getResponseHeader("Retry-After")));
        return;
      }
      try {
        resolve(JSON.parse(responseText));
      } catch {
        reject(noContent()); // for example the page of a web server in front
      }
    });
    sent.addEventListener("error", () => reject(noAnswer()));
    sent.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    const stop = () => sent.abort();
    signal.addEventListener("abort", stop, { once: true });
    sent.addEventListener("loadend", () => signal.removeEventListener("abort", stop));
    const form = new FormData();
    form.append("video", file, file.name);
    sent.send(form);
  });
}
