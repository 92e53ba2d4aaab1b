// Calls, errors, lists, changes, uploads and downloads, against a running server.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import test from "node:test";
import { inspect } from "node:util";
import {
  ApiError,
  change,
  createClient,
  isApiError,
  isPermission,
  type Permission,
  permissions,
  type Progress,
  UnexpectedResponse,
} from "../src/index.js";
import { queryOf } from "../src/requests.js";
import { API_URL, newAccount, PNG, recordingClient, signedIn } from "./support.js";

test("a first conversation", async () => {
  const api = createClient({ baseUrl: `${API_URL}/` });
  const account = await newAccount("first");
  assert.equal(await api.currentUser(), null);
  const session = await api.signIn(account);
  assert.match(session.session_id, /^[0-9a-f-]{36}$/);
  assert.equal((await api.currentUser())?.email, account.email);
  const item = await api.items.createItem({ body: { title: "Tea" } });
  assert.equal(item.title, "Tea");
  const { data, etag, status } = await api.items.readItem.response({ id: item.id });
  assert.deepEqual([data.title, status, etag?.startsWith('"')], ["Tea", 200, true]);
  assert.equal(await api.items.deleteItem({ id: item.id }), undefined);
  await api.signOut();
  assert.equal(await api.currentUser(), null);
  await api.signOut();
});

test("errors are typed by their code", async () => {
  const { api } = recordingClient();
  const account = await newAccount("errors");
  const twice = await api.auth.register.attempt({ body: account });
  assert.ok(!twice.ok && twice.problem.error === "EMAIL_ALREADY_EXISTS");
  assert.equal(twice.problem.status, 409);

  const wrong = await api.auth.register.attempt({ body: { email: "ada", password: "short" } });
  assert.ok(!wrong.ok && wrong.problem.error === "VALIDATION_ERROR");
  assert.deepEqual(wrong.problem.errors?.map(({ field }) => field).sort(), ["body.email", "body.password"]);
  assert.deepEqual(Object.keys(wrong.error.fields).sort(), ["email", "password"]);

  await assert.rejects(api.signIn({ ...account, password: "another password" }), (error) => {
    assert.ok(isApiError(error, "INVALID_CREDENTIALS") && error instanceof ApiError);
    assert.ok(!isApiError(error, "RATE_LIMITED"));
    assert.equal(error.problem.status, 401);
    assert.equal(error.response.status, 401);
    assert.ok(!inspect(error).includes("Headers"), "a printed error is short");
    return error.message.startsWith("401 INVALID_CREDENTIALS: ");
  });
});

test("a response of another server is no problem document", async () => {
  const other = createServer((_, response) => response.writeHead(403).end("<h1>No</h1>")).listen(0, "127.0.0.1");
  await new Promise((resolve) => other.once("listening", resolve));
  const api = createClient({ baseUrl: `http://127.0.0.1:${(other.address() as AddressInfo).port}` });
  await assert.rejects(api.health.health(), (error) => error instanceof UnexpectedResponse && error.response.status === 403);
  other.close();
});

test("permissions are those of the contract", async () => {
  const { api } = await signedIn("permissions");
  const listed = await api.roles.listPermissions({ query: { limit: 100 } });
  const names = listed.data.flatMap(({ actions }) => actions.map(({ permission }) => permission));
  assert.deepEqual(Object.keys(permissions).sort(), names.sort());
  const needed: Permission | null = api.users.listUsers.operation.permission;
  assert.ok(isPermission(needed) && !isPermission("users:fly"));
  const refused = await api.users.listUsers.attempt();
  assert.ok(!refused.ok && refused.problem.error === "PERMISSION_DENIED");
});

test("lists are iterated by their cursors", async () => {
  const { api, sent } = await signedIn("lists");
  const titles = Array.from({ length: 25 }, (_, index) => `Item ${String(index).padStart(2, "0")}`);
  await api.items.createItems({ body: { data: titles.map((title) => ({ title })) } });
  sent.length = 0;
  const query = { limit: 10, sort: ["title"], fields: ["id", "title"], total: true, offset: 2 } as const;
  const found: string[] = [];
  for await (const item of api.items.listItems.iterate({ query: { ...query, sort: ["title"] } })) {
    assert.deepEqual(Object.keys(item), ["id", "title"]);
    found.push(item.title);
  }
  assert.deepEqual(found, titles.slice(2));
  assert.equal(sent.length, 3);

  sent.length = 0;
  for await (const page of api.items.listItems.pages({ query: { limit: 5 } })) {
    assert.equal(page.data.length, 5);
    break;
  }
  assert.equal(sent.length, 1);
  const invalid = await api.items.listItems.attempt({ query: { cursor: "forged" } });
  assert.ok(!invalid.ok && invalid.problem.error === "INVALID_CURSOR");
});

test("changes do not overwrite those of others", async () => {
  const { api } = await signedIn("changes");
  const { id } = await api.items.createItem({ body: { title: "" + 0 } });
  const increment = () =>
    change(
      api.items.readItem,
      { id },
      (item, ifMatch) => api.items.updateItem({ id, ifMatch, body: { title: String(Number(item.title) + 1) } }),
      { attempts: 10 },
    );
  await Promise.all([increment(), increment(), increment()]);
  assert.equal((await api.items.readItem({ id })).title, "3");

  let writes = 0;
  const late = change(api.items.readItem, { id }, async (_, ifMatch) => {
    writes += 1;
    await api.items.updateItem({ id, body: { title: `Other ${writes}` } });
    return api.items.updateItem({ id, ifMatch, body: { title: "Mine" } });
  });
  await assert.rejects(late, (error) => isApiError(error, "PRECONDITION_FAILED"));
  assert.equal(writes, 3);
  assert.equal((await api.items.readItem({ id })).title, "Other 3");
});

test("a file is uploaded", async () => {
  const { api } = await signedIn("avatar");
  const seen: Progress[] = [];
  const file = new Blob([PNG], { type: "image/png" });
  const me = await api.users.replaceAvatar({ body: { file }, onProgress: (each) => seen.push(each) });
  assert.match(me.avatar_url ?? "", /^\/files\//);
  assert.equal(seen.length, 1);
  assert.equal(seen[0]?.loaded, seen[0]?.total);
  assert.ok((seen[0]?.total ?? 0) >= PNG.length);
  const text = new Blob(["no image"], { type: "image/png" });
  const refused = await api.users.replaceAvatar.attempt({ body: { file: text } });
  assert.ok(!refused.ok && refused.problem.error === "UNSUPPORTED_MEDIA_TYPE");
});

test("a file is downloaded, and any address is fetched with the session", async () => {
  const { api } = await signedIn("download");
  const response = await api.users.exportMe.raw();
  assert.match(response.headers.get("Content-Disposition") ?? "", /^attachment/);
  const exported = (await response.json()) as { user: { email: string } };
  const me = (await (await api.fetch("/api/v1/users/me")).json()) as { email: string };
  assert.equal(exported.user.email, me.email);
});

test("the session goes to no other server", async () => {
  const { api, sent } = await signedIn("origins");
  for (const path of ["https://evil.example/", ".evil.example/", "@evil.example/", "evil.example", ":1/", "http://127.0.0.1/"]) {
    await assert.rejects(api.fetch(path), TypeError, path);
  }
  assert.equal(sent.length, 0);
  assert.equal((await api.fetch(`${API_URL}/api/v1/users/me`)).status, 200);
  // Without an address of the server, paths are those of the page.
  const own = createClient({ fetch: async () => new Response(null, { status: 204 }) });
  assert.equal((await own.fetch("/health")).status, 204);
  for (const path of ["//evil.example/", "/\\evil.example/", "https://evil.example/"]) {
    await assert.rejects(own.fetch(path), TypeError, path);
  }
});

test("options of fetch are passed on", async () => {
  let seen: RequestInit | undefined;
  const api = createClient({
    baseUrl: API_URL,
    fetch: (input, init) => {
      seen = init;
      return fetch(input, init);
    },
  });
  await api.fetch("/health", { redirect: "manual", credentials: "include" });
  assert.deepEqual([seen?.redirect, seen?.credentials], ["manual", "omit"]);
});

test("queries need no `URLSearchParams.size`", () => {
  const size = Object.getOwnPropertyDescriptor(URLSearchParams.prototype, "size") ?? {};
  Object.defineProperty(URLSearchParams.prototype, "size", { configurable: true, get: () => undefined });
  try {
    assert.equal(queryOf({ sort: ["-id", "title"], q: "", limit: undefined }), "?sort=-id%2Ctitle&q=");
    assert.equal(queryOf({ limit: undefined }), "");
  } finally {
    Object.defineProperty(URLSearchParams.prototype, "size", size);
  }
});

test("a path parameter never leads to another address", async () => {
  const { api, sent } = recordingClient();
  for (const id of ["", ".", ".."]) {
    await assert.rejects(api.users.readUser({ id }), TypeError);
  }
  assert.equal(sent.length, 0);
  const missing = await api.users.readUser.attempt({ id: "a/../b?c" });
  assert.ok(!missing.ok);
  assert.equal(sent[0]?.path, "/api/v1/users/a%2F..%2Fb%3Fc");
});
