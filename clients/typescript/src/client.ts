// The client: calls of all operations, and one session for them.
import { bearer, type Credentials, type Post, type Session, type SignInBody } from "./credentials.js";
import { codeOf, errorOf, isApiError } from "./errors.js";
import { operations } from "./generated/contract.js";
import { iterate, type Page, pages } from "./lists.js";
import { exclusively } from "./locks.js";
import { abortable, addressOf, formOf, type Outgoing, pathOf, queryOf, sendWithRetries, uuid } from "./requests.js";
import type { ApiResponse, CallOptions, Calls, DataOf, Operation, Progress } from "./types.js";
import { reportEnd, sendWithProgress } from "./upload.js";

export interface ClientOptions {
  /** The address of the server, such as `https://api.example.com`; by default that of the page. */
  baseUrl?: string;
  /** `cookies()` for pages of the same site; `bearer(storage)` otherwise, and by default. */
  credentials?: Credentials;
  /** The number of repetitions after failures that may pass. 2 by default. */
  retries?: number;
  /** Called when a session has ended without `signOut`: show the sign-in page. */
  onSignedOut?: () => void;
  /** A replacement of `fetch`. */
  fetch?: typeof fetch;
}

export type Me = DataOf<"users-read_me">;

export interface OwnFunctions {
  /** Open a session. Throws `ApiError`, for example with INVALID_CREDENTIALS. */
  signIn(body: SignInBody): Promise<Session>;
  /** End the session. It is not an error if it has ended already. */
  signOut(): Promise<void>;
  /** The user that is signed in, or null. Call it when a page is loaded. */
  currentUser(options?: CallOptions): Promise<Me | null>;
  /** Send a request of your own to this server, with the session and the retries of this client. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
}

export type Client = Calls & OwnFunctions;

/** The argument of a call, as the functions below see it. */
interface Input extends CallOptions {
  query?: Record<string, unknown>;
  body?: unknown;
  ifMatch?: string;
  idempotencyKey?: string;
  onProgress?: (progress: Progress) => void;
  [parameter: string]: unknown;
}

// A renewal, and once more if another tab has ended it; then the response stands.
const ROUNDS = 3;
// A renewal that hangs would hold up all tabs.
const LONGEST_RENEWAL = 30_000;
const REPEATABLE = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"];

export function createClient(options: ClientOptions = {}): Client {
  const { credentials = bearer(), retries = 2, onSignedOut } = options;
  const base = (options.baseUrl ?? "").replace(/\/+$/, "");
  const fetching = options.fetch ?? ((...list: Parameters<typeof fetch>) => fetch(...list));
  let isSignedIn = false;
  let signOuts = 0;
  let renewing: Promise<boolean> | null = null;
  let lastChange: Promise<unknown> = Promise.resolve();

  async function dispatch(request: Outgoing): Promise<Response> {
    const { method, url, headers, body = null, signal = null, init } = request;
    if (request.onProgress && typeof XMLHttpRequest !== "undefined") {
      return sendWithProgress(request, credentials.mode);
    }
    const response = await fetching(url, { ...init, method, headers, body, signal, credentials: credentials.mode });
    if (body instanceof FormData) reportEnd(body, request);
    return response;
  }

  const post: Post = (operation, { query = "", body, headers = {} } = {}) => {
    const request: Outgoing = {
      method: operation.method,
      url: `${base}${operation.path}${query}`,
      headers: new Headers(headers),
      signal: AbortSignal.timeout(LONGEST_RENEWAL),
      repeatable: operation.path !== operations.auth.login.path,
      whole: true,
      retries,
    };
    if (body !== undefined) {
      request.headers.set("Content-Type", "application/json");
      request.body = JSON.stringify(body);
    }
    return sendWithRetries(request, dispatch);
  };

  function setSignedIn(now: boolean): void {
    const before = isSignedIn;
    isSignedIn = now;
    if (before && !now) onSignedOut?.();
  }

  /** Sign in, renew or sign out: after other such changes of this client, and of other tabs. */
  function changeSession<T>(work: (waited: boolean) => Promise<T>): Promise<T> {
    const { lock } = credentials;
    const name = lock === undefined ? undefined : `trellis:${lock}:${base}`;
    const change = lastChange.then(() => exclusively(name, work));
    lastChange = change.catch(() => {});
    return change;
  }

  /** Renew the credentials that a request had, once for all requests and tabs. */
  function renew(mark: unknown, signOutsBefore: number): Promise<boolean> {
    renewing ??= changeSession((waited) => credentials.renew(post, mark, waited))
      .then((goesOn) => {
        // A page that was loaded again may not have asked who is signed in.
        if (signOuts === signOutsBefore) isSignedIn = true;
        setSignedIn(isSignedIn && goesOn);
        return goesOn;
      })
      .finally(() => {
        renewing = null;
      });
    return renewing;
  }

  async function send(request: Outgoing): Promise<Response> {
    for (let round = 1; ; round += 1) {
      const signOutsBefore = signOuts;
      const mark = await credentials.mark();
      const headers = new Headers(request.headers);
      for (const [name, value] of Object.entries(await credentials.headers(request.method))) {
        headers.set(name, value);
      }
      const response = await sendWithRetries({ ...request, headers }, dispatch);
      credentials.observe(response);
      if (response.ok || round === ROUNDS || request.body instanceof ReadableStream) return response;
      const code = await codeOf(response);
      if (code === "TOKEN_EXPIRED" || code === "INVALID_TOKEN") {
        // If the session is over, the repetition is anonymous: public routes still work.
        await abortable(renew(mark, signOutsBefore), request.signal);
      } else if (code !== "CSRF_FAILED" || !(await credentials.recover(post, headers))) {
        if (code === "NOT_AUTHENTICATED") setSignedIn(false);
        return response;
      }
    }
  }

  async function callRaw(operation: Operation, input: Input = {}, whole = false): Promise<Response> {
    const response = await send({ ...outgoing(base, operation, input, retries), whole });
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  const calls = mapOperations((operation) => {
    const response = async (input?: Input): Promise<ApiResponse<unknown>> => {
      const received = await callRaw(operation, input, true);
      const { status, headers } = received;
      return { data: await dataOf(received), status, headers, etag: headers.get("ETag") };
    };
    const attempt = async (input?: Input): Promise<unknown> => {
      try {
        return { ok: true, data: (await response(input)).data };
      } catch (error) {
        if (isApiError(error)) return { ok: false, problem: error.problem, error };
        throw error;
      }
    };
    const call = async (input?: Input): Promise<unknown> => (await response(input)).data;
    return Object.assign(call, {
      response,
      attempt,
      operation,
      raw: (input?: Input) => callRaw(operation, input),
      // Of lists only, by their types.
      iterate: (input: Input = {}) => iterate(call as (input: Input) => Promise<Page>, input),
      pages: (input: Input = {}) => pages(call as (input: Input) => Promise<Page>, input),
    });
  });

  const own: OwnFunctions = {
    async signIn(body) {
      const session = await changeSession(() => credentials.signIn(post, body));
      isSignedIn = true;
      return session;
    },
    async signOut() {
      await changeSession(() => credentials.signOut(post));
      isSignedIn = false;
      signOuts += 1;
    },
    async currentUser(callOptions = {}) {
      try {
        const user = await calls.users.readMe(callOptions);
        isSignedIn = true;
        return user;
      } catch (error) {
        if (isApiError(error) && error.problem.status === 401) return null;
        throw error;
      }
    },
    async fetch(path, init = {}) {
      const { headers, body, signal, ...others } = init;
      const method = (init.method ?? "GET").toUpperCase();
      return send({
        init: others,
        method,
        url: addressOf(base, path),
        headers: new Headers(headers),
        body,
        signal: signal ?? undefined,
        repeatable: REPEATABLE.includes(method) && !(body instanceof ReadableStream),
        retries,
      });
    },
  };
  return Object.assign(calls, own);
}

/** The request of a call. */
function outgoing(base: string, operation: Operation, input: Input, retries: number): Outgoing {
  const headers = new Headers(input.headers);
  if (input.ifMatch !== undefined) headers.set("If-Match", input.ifMatch);
  if (operation.idempotencyKey) headers.set("Idempotency-Key", input.idempotencyKey ?? uuid());
  const request: Outgoing = {
    method: operation.method,
    url: `${base}${pathOf(operation.path, input)}${queryOf(input.query)}`,
    headers,
    signal: input.signal,
    onProgress: input.onProgress,
    // After a lost response, a repetition with If-Match would be told of its own change.
    repeatable: operation.repeatable && (operation.idempotencyKey || input.ifMatch === undefined),
    retries: input.retries ?? retries,
  };
  if (operation.body === "form") {
    request.body = formOf((input.body ?? {}) as Record<string, unknown>);
  } else if (input.body !== undefined) {
    headers.set("Content-Type", "application/json");
    request.body = JSON.stringify(input.body);
  }
  return request;
}

async function dataOf(response: Response): Promise<unknown> {
  const type = response.headers.get("Content-Type") ?? "";
  if (response.status === 204 || type === "") return undefined;
  if (/[/+]json\b/.test(type)) return response.json();
  return /^text\/|ndjson/.test(type) ? response.text() : response.blob();
}

/** Make a function of each operation of the generated table. */
function mapOperations(make: (operation: Operation) => unknown): Calls {
  const groups = Object.entries(operations).map(([group, members]) => [
    group,
    Object.fromEntries(Object.entries(members).map(([name, each]) => [name, make(each as Operation)])),
  ]);
  return Object.fromEntries(groups) as Calls;
}
