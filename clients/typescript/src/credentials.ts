// The two ways to be signed in: by cookies, which scripts cannot read, and by tokens.
import { errorOf } from "./errors.js";
import { operations } from "./generated/contract.js";
import type { components } from "./generated/openapi.js";

export type Tokens = components["schemas"]["Tokens"];
type CookieTokens = components["schemas"]["CookieTokens"];
export interface SignInBody {
  /** E-mail address or username. */
  email: string;
  password: string;
}
/** The session that a sign-in has opened. */
export type Session = Pick<Tokens, "session_id" | "expires_in">;

/** Keeps the tokens of `bearer`, wherever the caller wants them. Functions may be asynchronous. */
export interface TokenStorage {
  get(): Tokens | null | Promise<Tokens | null>;
  set(tokens: Tokens | null): void | Promise<void>;
  /** The name of the lock under which tabs with the same tokens renew them; none if no tab shares them. */
  lock?: string;
}

/** Sends a request of sign-in, refresh or sign-out, with this body and without other credentials. */
export type Post = (
  operation: { method: string; path: string },
  options?: { query?: string; body?: unknown; headers?: Record<string, string> },
) => Promise<Response>;

/** How requests of a client are authenticated. Made by `cookies` or `bearer`. */
export interface Credentials {
  readonly mode: RequestCredentials;
  /** The name of the lock under which tabs change these credentials; undefined if no tab shares them. */
  readonly lock: string | undefined;
  /** The headers that authenticate a request with this method. */
  headers(method: string): Promise<Record<string, string>>;
  /** A value that tells whether the credentials were renewed since. */
  mark(): Promise<unknown>;
  /** Learn from a response. */
  observe(response: Response): void;
  signIn(post: Post, body: SignInBody): Promise<Session>;
  /** Return true if the session goes on, with new credentials; false if it is over. */
  renew(post: Post, mark: unknown, waited: boolean): Promise<boolean>;
  /** Return whether a request that was refused with CSRF_FAILED, with these headers, may succeed now. */
  recover(post: Post, sent: Headers): Promise<boolean>;
  signOut(post: Post): Promise<void>;
}

const { login, refresh, logout } = operations.auth;
const SAFE = ["GET", "HEAD", "OPTIONS"];
const CSRF_HEADER = "X-CSRF-Token";
const CSRF_COOKIE = /(?:^|;\s*)(?:__Host-)?csrf_token=([^;]+)/;

/** Tokens in this tab's memory: a reload signs out, and injected scripts find nothing in storage. */
export function memoryStorage(): TokenStorage {
  let kept: Tokens | null = null;
  return {
    get: () => kept,
    set: (tokens) => {
      kept = tokens;
    },
  };
}

/** Tokens in `localStorage` or `sessionStorage`, where every script of the page can read them. */
export function webStorage(storage: Storage, key = "trellis:tokens"): TokenStorage {
  return {
    lock: key,
    get: () => {
      const text = storage.getItem(key);
      return text === null ? null : (JSON.parse(text) as Tokens);
    },
    set: (tokens) => {
      if (tokens === null) storage.removeItem(key);
      else storage.setItem(key, JSON.stringify(tokens));
    },
  };
}

/** Authenticate by access and refresh tokens: for apps, servers, and pages of other sites. */
export function bearer(storage: TokenStorage = memoryStorage()): Credentials {
  // Another client of this storage may have signed in or out while a request was under way.
  const replace = async (sent: Tokens, tokens: Tokens | null): Promise<void> => {
    if ((await storage.get())?.refresh_token === sent.refresh_token) await storage.set(tokens);
  };
  return {
    mode: "omit",
    lock: storage.lock,
    headers: async (): Promise<Record<string, string>> => {
      const tokens = await storage.get();
      return tokens ? { Authorization: `Bearer ${tokens.access_token}` } : {};
    },
    mark: async () => (await storage.get())?.access_token,
    observe: () => {},
    recover: async () => false,
    async signIn(post, body) {
      const response = await post(login, { body });
      if (!response.ok) throw await errorOf(response);
      const tokens = (await response.json()) as Tokens;
      await storage.set(tokens);
      return tokens;
    },
    async renew(post, mark) {
      const tokens = await storage.get();
      if (tokens === null) return false;
      // Another call or another tab has renewed them. If the storage does not show it yet, the server
      // answers once more with the tokens of that renewal.
      if (tokens.access_token !== mark) return true;
      const response = await post(refresh, { body: { refresh_token: tokens.refresh_token } });
      if (!response.ok && response.status !== 401) throw await errorOf(response);
      await replace(tokens, response.ok ? ((await response.json()) as Tokens) : null);
      return (await storage.get()) !== null;
    },
    async signOut(post) {
      const tokens = await storage.get();
      if (tokens === null) return;
      const response = await post(logout, { body: { refresh_token: tokens.refresh_token } });
      // 401: the session is over already.
      if (!response.ok && response.status !== 401) throw await errorOf(response);
      await replace(tokens, null);
    },
  };
}

/** Authenticate by cookies, which scripts cannot read: for pages of the API's own site. */
export function cookies(): Credentials {
  let csrf: string | null = null;
  let renewals = 0;

  const csrfHeaders = (method: string): Record<string, string> => {
    const token = csrf ?? csrfCookie();
    return SAFE.includes(method) || token === null ? {} : { [CSRF_HEADER]: token };
  };
  const observe = (response: Response): void => {
    csrf = response.headers.get(CSRF_HEADER) ?? csrf;
  };
  const recover = async (post: Post, sent: Headers): Promise<boolean> => {
    const refused = sent.get(CSRF_HEADER);
    // Another call has asked for it meanwhile.
    if (csrf !== null && csrf !== refused) return true;
    // The response has the token in a header, also when it is 401.
    csrf = (await post(operations.users.readMe)).headers.get(CSRF_HEADER);
    return csrf !== null && csrf !== refused;
  };
  // Send with the CSRF token; a page that was loaded again, or is of another host, must ask for it.
  const change = async (post: Post, operation: { method: string; path: string }): Promise<Response> => {
    const headers = csrfHeaders("POST");
    const response = await post(operation, { headers });
    if (response.status !== 403 || !(await recover(post, new Headers(headers)))) return response;
    return post(operation, { headers: csrfHeaders("POST") });
  };
  return {
    mode: "include",
    lock: "cookies",
    headers: async (method) => csrfHeaders(method),
    mark: async () => renewals,
    observe,
    recover,
    async signIn(post, body) {
      const response = await post(login, { query: "?transport=cookie", body });
      if (!response.ok) throw await errorOf(response);
      const session = (await response.json()) as CookieTokens;
      csrf = session.csrf_token;
      renewals += 1;
      return session;
    },
    async renew(post, mark, waited) {
      // Another call or another tab has renewed the cookies.
      if (waited || renewals !== mark) return true;
      const response = await change(post, refresh);
      if (response.ok) {
        csrf = ((await response.json()) as CookieTokens).csrf_token;
        renewals += 1;
      } else if (response.status === 401) csrf = null;
      else throw await errorOf(response);
      return response.ok;
    },
    async signOut(post) {
      const response = await change(post, logout);
      if (!response.ok && response.status !== 401) throw await errorOf(response);
      csrf = null;
    },
  };
}

/** The readable cookie, which exists where page and API have one host name. */
function csrfCookie(): string | null {
  if (typeof document === "undefined") return null;
  const found = CSRF_COOKIE.exec(document.cookie)?.[1];
  return found === undefined ? null : decodeURIComponent(found);
}
