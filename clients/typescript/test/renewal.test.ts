// Renewal of tokens, against a running server whose access tokens last for ACCESS_TOKEN_TTL seconds.
import assert from "node:assert/strict";
import test from "node:test";
import { bearer, createClient, memoryStorage } from "../src/index.js";
import { API_URL, lost, newAccount, pause, recordingClient, type Sent, signedIn } from "./support.js";

const TTL = Number(process.env["ACCESS_TOKEN_TTL"]);
const expiry = (): Promise<void> => pause(TTL * 1000 + 1100);
const refreshes = (sent: Sent[]): Sent[] => sent.filter(({ path }) => path.endsWith("/auth/refresh"));

test("sessions", { concurrency: true }, async (context) => {
  await Promise.all([
    context.test("expired tokens are renewed once for all calls", async () => {
      const { api, sent, storage } = await signedIn("renewal");
      const before = await storage.get();
      await expiry();
      const users = await Promise.all(Array.from({ length: 8 }, () => api.users.readMe()));
      assert.equal(new Set(users.map(({ id }) => id)).size, 1);
      assert.equal(refreshes(sent).length, 1);
      assert.notEqual((await storage.get())?.refresh_token, before?.refresh_token);
    }),

    context.test("two clients of one storage stay signed in", async () => {
      const storage = memoryStorage();
      const one = recordingClient({ credentials: bearer(storage) });
      const two = recordingClient({ credentials: bearer(storage) });
      await one.api.signIn(await newAccount("shared"));
      await expiry();
      await Promise.all([one.api.users.readMe(), two.api.users.readMe()]);
      await two.api.users.readMe();
    }),

    context.test("a renewal whose response was lost is repeated", async () => {
      let isLost = false;
      const { api, sent } = await signedIn("lost-renewal", {
        trouble: async ({ path }, send) => {
          const response = await send();
          if (!path.endsWith("/auth/refresh") || isLost) return response;
          isLost = true;
          return lost();
        },
      });
      await expiry();
      await api.users.readMe();
      assert.equal(refreshes(sent).length, 2);
    }),

    context.test("a sign-in waits for a renewal, and its session stays", async () => {
      const { api, storage } = await signedIn("replaced");
      const other = await newAccount("replacing");
      await expiry();
      const [, session] = await Promise.all([api.users.readMe(), api.signIn(other)]);
      assert.equal((await storage.get())?.session_id, session.session_id);
      assert.equal((await api.currentUser())?.email, other.email);
    }),

    context.test("a renewal does not replace the tokens of another client", async () => {
      const other = await newAccount("other-client");
      const storage = memoryStorage();
      const elsewhere = createClient({ baseUrl: API_URL, credentials: bearer(storage) });
      let reports = 0;
      const { api } = recordingClient({
        credentials: bearer(storage),
        onSignedOut: () => (reports += 1),
        trouble: async ({ path }, send) => {
          const response = await send();
          if (path.endsWith("/auth/refresh")) await elsewhere.signIn(other);
          return response;
        },
      });
      await api.signIn(await newAccount("this-client"));
      await expiry();
      assert.equal((await api.users.readMe()).email, other.email);
      await elsewhere.signOut();
      assert.equal(await storage.get(), null);
      assert.equal(reports, 0);
    }),

    context.test("signing out while a call is under way is not reported", async () => {
      let reports = 0;
      const { api, storage } = await signedIn("leaving", { onSignedOut: () => (reports += 1) });
      await expiry();
      await Promise.all([api.users.readMe.attempt(), api.signOut()]);
      assert.equal(await storage.get(), null);
      assert.equal(reports, 0);
    }),

    context.test("a session that has ended is reported once, and public routes still work", async () => {
      let reports = 0;
      const { api, storage } = await signedIn("ended", { onSignedOut: () => (reports += 1) });
      const tokens = await storage.get();
      const elsewhere = createClient({ baseUrl: API_URL, credentials: bearer({ get: () => tokens, set: () => {} }) });
      await elsewhere.auth.logoutAll();
      const results = await Promise.all([api.items.listItems.attempt(), api.users.readMe.attempt()]);
      for (const each of results) assert.ok(!each.ok && each.problem.error === "NOT_AUTHENTICATED");
      assert.equal(reports, 1);
      assert.equal(await storage.get(), null);
      await api.articles.listArticles();
      assert.equal(reports, 1);
    }),
  ]);
});
