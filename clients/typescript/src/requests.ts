// One HTTP request: its address, its body, its repetition after failures that may pass.
import { codeOf, retryAfterOf } from "./errors.js";
import type { Progress } from "./types.js";

export interface Outgoing {
  method: string;
  url: string;
  headers: Headers;
  body?: string | FormData | BodyInit | null | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Further options of `fetch`. */
  init?: RequestInit | undefined;
  /** Whether to wait for the whole body, so that the request is repeated if the body breaks off. */
  whole?: boolean | undefined;
  /** Whether a repetition has the effect of one request. */
  repeatable: boolean;
  retries: number;
}

/** Sends one request and returns the response; throws if there is none. */
export type Send = (request: Outgoing) => Promise<Response>;

const FIRST_PAUSE = 300;
// A server that asks for more patience gets no repetition: the caller decides.
const LONGEST_PAUSE = 10_000;
// The server ends each request sooner.
const LONGEST_WAIT_FOR_FIRST = 30_000;

/**
 * The address of a path of this server, or of a URL that begins with its origin. Credentials go
 * nowhere else: throws `TypeError` for another origin.
 */
export function addressOf(base: string, path: string): string {
  const url = /^https?:/i.test(path) ? path : `${base}${path}`;
  const page = (globalThis.document as Document | undefined)?.baseURI ?? "http://localhost";
  const { origin } = new URL(base || "/", page);
  if (new URL(url, page).origin !== origin) {
    throw new TypeError(`${path} is no address of ${origin}. Pass a path that begins with "/".`);
  }
  return url;
}

/** Insert the parameters of the path. */
export function pathOf(template: string, values: Record<string, unknown>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = String(values[name] ?? "");
    // These would lead to another address.
    if (value === "" || value === "." || value === "..") {
      throw new TypeError(`${template}: ${name} must not be ${value === "" ? "empty" : `"${value}"`}.`);
    }
    return encodeURIComponent(value);
  });
}

/** The query with its question mark. Lists are separated by commas; absent values are left out. */
export function queryOf(query: Record<string, unknown> | undefined): string {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined && value !== null) {
      parts.set(name, Array.isArray(value) ? value.join(",") : String(value));
    }
  }
  // `size` is missing in Safari 16.
  const text = String(parts);
  return text === "" ? "" : `?${text}`;
}

/** A form with these fields. */
export function formOf(fields: Record<string, unknown>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) form.set(name, value);
    else if (value !== undefined && value !== null) form.set(name, String(value));
  }
  return form;
}

/**
 * Send a request, and repeat it after failures that may pass: a lost connection or 503, and as long
 * as the first request with the same Idempotency-Key runs (409). After 429 nothing has been done, so
 * any request is repeated.
 */
export async function sendWithRetries(request: Outgoing, send: Send): Promise<Response> {
  const start = Date.now();
  let attempt = 0;
  for (;;) {
    request.signal?.throwIfAborted();
    let response: Response | undefined;
    try {
      const begun = await send(request);
      if (request.whole) await begun.clone().arrayBuffer();
      response = begun;
    } catch (error) {
      if (request.signal?.aborted || !request.repeatable || attempt >= request.retries) throw error;
    }
    const runs = response?.status === 409 && (await codeOf(response)) === "IDEMPOTENCY_IN_PROGRESS";
    const pause = runs ? pauseForFirst(response, request, start) : pauseAfter(response, request, attempt);
    if (response !== undefined && pause === undefined) return response;
    await response?.body?.cancel();
    await sleep(pause ?? backoff(attempt), request.signal);
    // Waiting for the first request is no failure.
    if (!runs) attempt += 1;
  }
}

/** Milliseconds to wait for the first request with the same key; undefined if that took too long. */
function pauseForFirst(response: Response | undefined, request: Outgoing, start: number): number | undefined {
  const asked = (response && retryAfterOf(response)) ?? 0;
  const pause = Math.max(asked * 1000, backoff(0));
  const isOver = Date.now() + pause - start > LONGEST_WAIT_FOR_FIRST;
  return isOver || !request.repeatable || request.retries === 0 ? undefined : pause;
}

/** Milliseconds to wait before the request is repeated; undefined if it is not. */
function pauseAfter(response: Response | undefined, request: Outgoing, attempt: number): number | undefined {
  if (response === undefined) return backoff(attempt);
  if (attempt >= request.retries) return undefined;
  const refused = response.status === 429;
  const passing = [408, 502, 503, 504].includes(response.status);
  if (!refused && !(passing && request.repeatable)) return undefined;
  const asked = (retryAfterOf(response) ?? 0) * 1000;
  return asked > LONGEST_PAUSE ? undefined : Math.max(asked, backoff(attempt));
}

// Random, so that clients that failed together do not return together.
function backoff(attempt: number): number {
  return FIRST_PAUSE * 2 ** attempt * (0.5 + Math.random() / 2);
}

export function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return abortable(new Promise((resolve) => setTimeout(resolve, milliseconds)), signal);
}

/** Wait for work that others need as well: an abort ends the waiting, not the work. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** A random UUID, also where `crypto.randomUUID` is missing: on pages without HTTPS. */
export function uuid(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
