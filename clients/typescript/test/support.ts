// What the tests of a running server share.
import { bearer, type Client, type ClientOptions, createClient, memoryStorage } from "../src/index.js";

const url = process.env["API_URL"];
if (!url) throw new Error("Set API_URL to the address of a running server.");
export const API_URL: string = url;
export const PASSWORD = "correct horse battery staple";
// The smallest PNG: one pixel.
export const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

/** A request that a client has sent. */
export interface Sent {
  method: string;
  path: string;
  headers: Headers;
}

/** A client that records its requests; `trouble` may replace a response, or throw. */
export function recordingClient(
  options: ClientOptions & { trouble?: (sent: Sent, send: () => Promise<Response>) => Promise<Response> } = {},
): { api: Client; sent: Sent[] } {
  const { trouble, ...rest } = options;
  const sent: Sent[] = [];
  const api = createClient({
    baseUrl: API_URL,
    fetch: (input, init) => {
      const request: Sent = {
        method: init?.method ?? "GET",
        path: String(input).slice(API_URL.length),
        headers: new Headers(init?.headers),
      };
      sent.push(request);
      const send = (): Promise<Response> => fetch(input, init);
      return trouble ? trouble(request, send) : send();
    },
    ...rest,
  });
  return { api, sent };
}

let accounts = 0;

/** A new account. */
export async function newAccount(name: string): Promise<{ email: string; password: string }> {
  accounts += 1;
  const account = { email: `${name}-${accounts}-${process.pid}@example.com`, password: PASSWORD };
  await createClient({ baseUrl: API_URL }).auth.register({ body: account });
  return account;
}

/** A recording client that is signed in with a new account. */
export async function signedIn(
  name: string,
  options: Parameters<typeof recordingClient>[0] = {},
): Promise<ReturnType<typeof recordingClient> & { storage: ReturnType<typeof memoryStorage> }> {
  const storage = memoryStorage();
  const client = recordingClient({ credentials: bearer(storage), ...options });
  await client.api.signIn(await newAccount(name));
  client.sent.length = 0;
  return { ...client, storage };
}

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** What happens to a request whose connection is lost. */
export function lost(): never {
  throw new TypeError("the connection was lost");
}
