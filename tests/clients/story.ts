// What every generated client does against the running server.
import assert from "node:assert/strict";

/** Status and body of an answer. */
export type Answer = { status: number; body: unknown };

export interface Api {
  register(account: { email: string; password: string; username: string }): Promise<Answer>;
  signIn(credentials: { email: string; password: string }): Promise<Answer>;
  refresh(refreshToken: string): Promise<Answer>;
  me(): Promise<Answer>;
  createItem(item: { title: string }): Promise<Answer>;
  listItems(): Promise<Answer>;
  /** Id and title of each item, sorted by title from Z to A. */
  listTitles(limit: number): Promise<Answer>;
  /** Id and title of one item. */
  readTitle(id: string): Promise<Answer>;
  /** Titles of the user's items, included in the user. */
  includedTitles(userId: string): Promise<string[] | undefined>;
  signOut(): Promise<Answer>;
  /** Send this access token from now on. */
  use(accessToken: string): void;
}

export async function runStory(name: string, api: Api): Promise<void> {
  const email = `${name}@example.com`;
  const password = "correct horse battery staple";
  const created = await api.register({ email, password, username: name });
  assert.equal(created.status, 201);

  const wrong = await api.signIn({ email, password: "not the password" });
  assert.equal(wrong.status, 401);
  assert.equal((wrong.body as { error: string }).error, "INVALID_CREDENTIALS");

  const opened = await api.signIn({ email, password });
  assert.equal(opened.status, 200);
  const first = opened.body as { access_token: string; refresh_token: string };
  api.use(first.access_token);
  const made = await api.createItem({ title: "Tea" });
  assert.equal(made.status, 201);

  const refreshed = await api.refresh(first.refresh_token);
  assert.equal(refreshed.status, 200);
  api.use((refreshed.body as { access_token: string }).access_token);
  const me = await api.me();
  assert.equal((me.body as { email: string }).email, email);
  const items = await api.listItems();
  const titles = (items.body as { data: { title: string }[] }).data.map((item) => item.title);
  assert.deepEqual(titles, ["Tea"]);

  const { id } = made.body as { id: string };
  const more = (await api.createItem({ title: "Coffee" })).body as { id: string };
  const narrow = await api.listTitles(5);
  assert.deepEqual((narrow.body as { data: unknown }).data, [
    { id, title: "Tea" },
    { id: more.id, title: "Coffee" },
  ]);
  assert.deepEqual((await api.readTitle(id)).body, { id, title: "Tea" });

  const userId = (me.body as { id: string }).id;
  assert.deepEqual(await api.includedTitles(userId), ["Coffee", "Tea"]);

  assert.equal((await api.signOut()).status, 204);
  const over = await api.me();
  assert.equal(over.status, 401);
  assert.equal((over.body as { error: string }).error, "INVALID_TOKEN");
  console.log("the session is over");
}
