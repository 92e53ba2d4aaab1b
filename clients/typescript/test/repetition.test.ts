// Repetition of requests, and aborts, against a running server that accepts 20 requests a second.
import assert from "node:assert/strict";
import test from "node:test";
import { isApiError } from "../src/index.js";
import { abortable } from "../src/requests.js";
import { lost, pause, recordingClient, signedIn } from "./support.js";

test("a request whose response was lost takes effect once", async () => {
  let losses = 1;
  const { api, sent } = await signedIn("lost", {
    trouble: async ({ method, path }, send) => {
      const response = await send();
      if (method === "POST" && path === "/api/v1/items" && losses > 0) {
        losses -= 1;
        return lost();
      }
      return response;
    },
  });
  const made = await api.items.createItem.response({ body: { title: "Tea" } });
  assert.equal(made.headers.get("Idempotency-Replayed"), "true");
  assert.equal(sent.length, 2);
  const [first, second] = sent.map(({ headers }) => headers.get("Idempotency-Key"));
  assert.ok(first);
  assert.equal(first, second);
  assert.equal((await api.items.listItems()).data.length, 1);
  await api.items.createItem({ body: { title: "Milk" }, idempotencyKey: "milk-1" });
  await api.items.createItem({ body: { title: "Milk" }, idempotencyKey: "milk-1" });
  assert.equal((await api.items.listItems()).data.length, 2);
});

test("only requests that may be repeated are", async () => {
  const { api, sent } = recordingClient({ trouble: async () => lost() });
  const id = "01a1fcc3-be4b-7ca4-a16f-eae67ebca7bf";
  await assert.rejects(api.articles.publishArticle({ id }), TypeError);
  await assert.rejects(api.items.updateItem({ id, ifMatch: '"tag"', body: {} }), TypeError);
  assert.equal(sent.length, 2);
  await assert.rejects(api.items.listItems({ retries: 1 }), TypeError);
  assert.equal(sent.length, 4);
  await assert.rejects(api.items.createItem({ body: { title: "Tea" }, retries: 1 }), TypeError);
  assert.equal(sent.length, 6);

  // Their repetition would be told that the password is wrong, or the token invalid.
  sent.length = 0;
  const passwords = { current_password: "old password", new_password: "new password" };
  await assert.rejects(api.auth.changePassword({ body: passwords }), TypeError);
  await assert.rejects(api.users.updateMe({ body: { email: "new@example.com", current_password: "old" } }), TypeError);
  await assert.rejects(api.users.deleteMe(), TypeError);
  assert.equal(sent.length, 3);
});

test("a request whose response breaks off is repeated", async () => {
  let breaks = 1;
  const { api, sent } = await signedIn("breaks", {
    trouble: async ({ path }, send) => {
      const response = await send();
      if (!path.startsWith("/api/v1/items") || breaks === 0) return response;
      breaks -= 1;
      const half = (await response.text()).slice(0, 10);
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(new TextEncoder().encode(half)),
        pull: (controller) => controller.error(new TypeError("terminated")),
      });
      return new Response(body, response);
    },
  });
  assert.deepEqual((await api.items.listItems()).data, []);
  assert.equal(sent.length, 2);
});

test("a call waits for the first request with its key", async () => {
  let runs = 4;
  const { api, sent } = await signedIn("running", {
    trouble: async ({ path }, send) => {
      if (path !== "/api/v1/items" || runs === 0) return send();
      runs -= 1;
      const headers = { "Content-Type": "application/problem+json", "Retry-After": "0" };
      return new Response(JSON.stringify({ error: "IDEMPOTENCY_IN_PROGRESS", status: 409 }), { status: 409, headers });
    },
  });
  assert.equal((await api.items.createItem({ body: { title: "Tea" } })).title, "Tea");
  assert.equal(sent.length, 5);
  runs = 1;
  const once = await api.items.createItem.attempt({ body: { title: "Milk" }, retries: 0 });
  assert.ok(!once.ok && once.problem.error === "IDEMPOTENCY_IN_PROGRESS");
});

test("a limit is waited for as long as the server says", async () => {
  const { api, sent } = await signedIn("limit");
  const results = await Promise.all(Array.from({ length: 60 }, () => api.users.readMe({ retries: 6 })));
  assert.equal(results.length, 60);
  assert.ok(sent.length > 60, "the limit was not reached");
});

test("a limit of minutes is reported at once", async () => {
  const { api, sent } = recordingClient();
  const account = { email: `nobody-${process.pid}@example.com`, password: "a wrong password" };
  for (let failures = 0; failures < 5; failures += 1) await api.auth.login.attempt({ body: account });
  sent.length = 0;
  await assert.rejects(api.signIn(account), (error) => {
    assert.ok(isApiError(error, "RATE_LIMITED"));
    return error.retryAfter > 10;
  });
  assert.equal(sent.length, 1);
});

test("calls are aborted while they are sent, and while they wait", async () => {
  const { api } = await signedIn("abort");
  const reason = new Error("the page was left");
  await assert.rejects(api.items.listItems({ signal: AbortSignal.abort(reason) }), reason);
  const sending = new AbortController();
  const call = api.items.listItems({ signal: sending.signal });
  sending.abort(reason);
  await assert.rejects(call, reason);

  const { api: failing, sent } = recordingClient({ trouble: async () => lost(), retries: 9 });
  const waiting = new AbortController();
  const later = failing.health.health({ signal: waiting.signal });
  setTimeout(() => waiting.abort(reason), 100);
  await assert.rejects(later, reason);
  assert.equal(sent.length, 1);

  // Work that fails after the abort is no unhandled rejection, which would end the process.
  await assert.rejects(abortable(pause(1).then(lost), AbortSignal.abort(reason)), reason);
  await pause(5);
});
