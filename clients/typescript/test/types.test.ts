// The compiler checks this file: each @ts-expect-error is a mistake that it must find.
import test from "node:test";
import {
  type Client,
  createClient,
  isApiError,
  type Permission,
  type Problem,
  type Schemas,
} from "../src/index.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Equal<A, B>): void {}

async function calls(api: Client): Promise<void> {
  const item = await api.items.createItem({ body: { title: "Tea" } });
  same<typeof item, Schemas["ItemOut"]>(true);
  same<Awaited<ReturnType<typeof api.items.deleteItem>>, undefined>(true);
  await api.items.listItems();
  await api.articles.publishArticle({ id: item.id, ifMatch: '"tag"' });
  await api.users.replaceAvatar({ body: { file: new Blob([]) }, onProgress: ({ loaded }) => loaded });
  await api.auth.logout({});

  const narrow = await api.items.readItem({ id: item.id, query: { fields: ["id", "title"] } });
  same<typeof narrow, Pick<Schemas["ItemOut"], "id" | "title">>(true);
  const page = await api.items.listItems({ query: { fields: ["title"], sort: ["-title"], limit: 5 } });
  same<(typeof page.data)[number], Pick<Schemas["ItemOut"], "title">>(true);
  for await (const row of api.items.listItems.iterate({ query: { fields: ["id"], q: "tea" } })) {
    same<typeof row, Pick<Schemas["ItemOut"], "id">>(true);
  }
  // A parameter that is undefined is left out.
  await api.items.listItems({ query: { q: undefined, cursor: undefined, fields: undefined } });
  for await (const row of api.users.listUsers.iterate()) same<typeof row, Schemas["UserOut"]>(true);

  // @ts-expect-error an argument is missing
  await api.items.readItem();
  // @ts-expect-error the body is missing
  await api.items.createItem({});
  // @ts-expect-error no such member
  await api.items.createItem({ body: { title: "Tea", colour: "red" } });
  // @ts-expect-error no such parameter
  await api.items.listItems({ query: { colour: "red" } });
  // @ts-expect-error no such field
  await api.items.listItems({ query: { fields: ["colour"] } });
  // @ts-expect-error the tag of a list does not exist
  await api.items.listItems({ ifMatch: '"tag"' });
  // @ts-expect-error reading takes no key
  await api.items.readItem({ id: item.id, idempotencyKey: "key" });
  // @ts-expect-error not selected
  narrow.description;
  // @ts-expect-error not a list
  api.items.readItem.iterate({ id: item.id });
}

async function errors(api: Client): Promise<void> {
  const outcome = await api.auth.register.attempt({ body: { email: "a@example.com", password: "12345678" } });
  if (outcome.ok) return;
  const { problem } = outcome;
  switch (problem.error) {
    case "EMAIL_ALREADY_EXISTS":
      same<typeof problem.status, 409>(true);
      break;
    case "VALIDATION_ERROR":
      same<typeof problem.status, 422>(true);
      same<NonNullable<typeof problem.errors>, Schemas["FieldError"][]>(true);
      break;
    case "RATE_LIMITED":
      // @ts-expect-error this code has no errors by field
      problem.errors;
      break;
    // @ts-expect-error the operation does not document this code
    case "ARTICLE_ALREADY_PUBLISHED":
      break;
    default:
  }
  const error: unknown = outcome.error;
  if (isApiError(error, "RATE_LIMITED", "SERVICE_UNAVAILABLE")) {
    same<typeof error.problem.status, 429 | 503>(true);
    same<typeof error.retryAfter, number>(true);
  }
  if (isApiError(error)) same<typeof error.problem, Problem>(true);
  // @ts-expect-error no such code
  isApiError(error, "RATE_LIMITTED");
}

function permissions(): void {
  const known: Permission[] = ["items:read", "articles:publish"];
  // @ts-expect-error no such permission
  known.push("items:fly");
  same<Client["items"]["createItem"]["operation"]["permission"], "items:write">(true);
}

test("the types compile, and mistakes do not", () => {
  createClient();
  void [calls, errors, permissions];
});
