// Sending with progress: browsers report it to XMLHttpRequest only.
import type { Outgoing } from "./requests.js";

/** Send by XMLHttpRequest, and report the bytes sent so far. */
export function sendWithProgress(request: Outgoing, credentials: RequestCredentials): Promise<Response> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const abort = (): void => xhr.abort();
    const settle = (finish: () => void) => (): void => {
      request.signal?.removeEventListener("abort", abort);
      finish();
    };
    xhr.open(request.method, request.url);
    xhr.withCredentials = credentials === "include";
    xhr.responseType = "blob";
    request.headers.forEach((value, name) => xhr.setRequestHeader(name, value));
    xhr.upload.onprogress = ({ loaded, total }) => request.onProgress?.({ loaded, total });
    xhr.onload = settle(() => resolve(responseOf(xhr)));
    xhr.onerror = settle(() => reject(new TypeError(`${request.method} ${request.url} failed`)));
    xhr.onabort = settle(() => reject(request.signal?.reason as Error));
    request.signal?.addEventListener("abort", abort, { once: true });
    xhr.send(request.body as XMLHttpRequestBodyInit);
  });
}

/** Report that a form has been sent, where nothing reports its progress. */
export function reportEnd(form: FormData, request: Outgoing): void {
  let total = 0;
  for (const value of form.values()) total += value instanceof Blob ? value.size : value.length;
  request.onProgress?.({ loaded: total, total });
}

function responseOf(xhr: XMLHttpRequest): Response {
  const headers = new Headers();
  for (const line of xhr.getAllResponseHeaders().trim().split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const hasBody = ![204, 205, 304].includes(xhr.status);
  return new Response(hasBody ? (xhr.response as Blob) : null, {
    status: xhr.status,
    statusText: xhr.statusText,
    headers,
  });
}
