import * as api from "./generated/api";
import { type Answer, runStory } from "./story";

let token: string | undefined;
const signedIn = (): RequestInit => ({ headers: token ? { Authorization: `Bearer ${token}` } : {} });
const answer = ({ status, data }: { status: number; data: unknown }): Answer => ({
  status,
  body: data,
});

await runStory("orval", {
  register: async (body) => answer(await api.authRegister(body)),
  signIn: async (body) => answer(await api.authLogin(body)),
  refresh: async (refresh_token) => answer(await api.authRefresh({ refresh_token }, signedIn())),
  me: async () => answer(await api.usersReadMe(undefined, signedIn())),
  createItem: async (body) => answer(await api.itemsCreateItem(body, signedIn())),
  listItems: async () => answer(await api.itemsListItems(undefined, signedIn())),
  listTitles: async (limit) =>
    answer(
      await api.itemsListItems({ fields: ["id", "title"], sort: ["-title"], limit }, signedIn()),
    ),
  readTitle: async (id) =>
    answer(await api.itemsReadItem(id, { fields: ["id", "title"] }, signedIn())),
  includedTitles: async (id) => {
    const read = await api.usersReadUser(id, { include: ["items"] }, signedIn());
    return read.status === 200 ? read.data.items?.data.map((item) => item.title) : undefined;
  },
  signOut: async () => answer(await api.authLogout(undefined, signedIn())),
  use: (accessToken) => {
    token = accessToken;
  },
});
