import * as api from "./generated/sdk.gen";
import { client } from "./generated/client.gen";
import { type Answer, runStory } from "./story";

let token: string | undefined;
client.setConfig({
  baseUrl: process.env.API_URL,
  // The client asks for every scheme that an operation names; outside of a browser it would also
  // send the token as a cookie, for which the server wants X-CSRF-Token.
  auth: (scheme) => (scheme.scheme === "bearer" ? token : undefined),
});

type Fetched = { response?: Response; data?: unknown; error?: unknown };
const answer = ({ response, data, error }: Fetched): Answer => ({
  status: response?.status ?? 0,
  body: data ?? error,
});

await runStory("hey-api", {
  register: async (body) => answer(await api.authRegister({ body })),
  signIn: async (body) => answer(await api.authLogin({ body })),
  refresh: async (refresh_token) => answer(await api.authRefresh({ body: { refresh_token } })),
  me: async () => answer(await api.usersReadMe()),
  createItem: async (body) => answer(await api.itemsCreateItem({ body })),
  listItems: async () => answer(await api.itemsListItems()),
  listTitles: async (limit) =>
    answer(
      await api.itemsListItems({ query: { fields: ["id", "title"], sort: ["-title"], limit } }),
    ),
  readTitle: async (id) =>
    answer(await api.itemsReadItem({ path: { id }, query: { fields: ["id", "title"] } })),
  includedTitles: async (id) => {
    const { data } = await api.usersReadUser({ path: { id }, query: { include: ["items"] } });
    return data?.items?.data.map((item) => item.title);
  },
  signOut: async () => answer(await api.authLogout()),
  use: (accessToken) => {
    token = accessToken;
  },
});
