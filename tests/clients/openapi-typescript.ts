import createClient from "openapi-fetch";
import type { paths } from "./generated/api";
import { type Answer, runStory } from "./story";

const client = createClient<paths>({
  baseUrl: process.env.API_URL,
  // By default the client repeats the parameter for each name of a list, which the server refuses.
  querySerializer: { array: { style: "form", explode: false } },
});
let token: string | undefined;
client.use({
  onRequest({ request }) {
    if (token) request.headers.set("Authorization", `Bearer ${token}`);
    return request;
  },
});

type Fetched = { response: Response; data?: unknown; error?: unknown };
const answer = ({ response, data, error }: Fetched): Answer => ({
  status: response.status,
  body: data ?? error,
});

await runStory("openapi-typescript", {
  register: async (body) => answer(await client.POST("/api/v1/auth/register", { body })),
  signIn: async (body) => answer(await client.POST("/api/v1/auth/login", { body })),
  refresh: async (refresh_token) =>
    answer(await client.POST("/api/v1/auth/refresh", { body: { refresh_token } })),
  me: async () => answer(await client.GET("/api/v1/users/me")),
  createItem: async (body) => answer(await client.POST("/api/v1/items", { body })),
  listItems: async () => answer(await client.GET("/api/v1/items")),
  listTitles: async (limit) =>
    answer(
      await client.GET("/api/v1/items", {
        params: { query: { fields: ["id", "title"], sort: ["-title"], limit } },
      }),
    ),
  readTitle: async (id) =>
    answer(
      await client.GET("/api/v1/items/{id}", {
        params: { path: { id }, query: { fields: ["id", "title"] } },
      }),
    ),
  includedTitles: async (id) => {
    const params = { path: { id }, query: { include: ["items" as const] } };
    const { data } = await client.GET("/api/v1/users/{id}", { params });
    return data?.items?.data.map((item) => item.title);
  },
  signOut: async () => answer(await client.POST("/api/v1/auth/logout")),
  use: (accessToken) => {
    token = accessToken;
  },
});
