import { useEffect, useState } from "react";
import { isApiError, type Schemas } from "trellis-client";
import { messageOf, Told } from "../errors";
import { Field, Form, type Text } from "../forms";
import { ListEnd, useList } from "../lists";
import { Page, Question, Time } from "../parts";
import { Link, navigate } from "../router";
import { api, useSession } from "../session";

type Article = Schemas["ArticleOut"];

const valuesOf = (text: Text) => ({ title: text("title"), content: text("content") || null });
const NO_TEXT = "It has no text yet.";
const OUTDATED =
  "Somebody else has changed this article. The stored version is below; save again to replace it with yours.";
const CHANGED = "The article has been changed elsewhere; this is its present state. Please try again.";
const authorOf = ({ author }: Article): string => author.full_name ?? author.username ?? "A member";

export function Articles() {
  const { user } = useSession();
  const [search, setSearch] = useState("");
  const [mine, setMine] = useState(false);
  const q = search.trim() || undefined;
  const author_id = mine ? user?.id : undefined;
  const list = useList(
    (cursor, signal) => api.articles.listArticles({ query: { q, author_id, cursor }, signal }),
    `${q} ${author_id}`,
  );

  return (
    <Page title="Articles" aside={user && <Link href="/articles/new">New article</Link>}>
      <label className="search">
        Search
        <input type="search" value={search} onChange={(event) => setSearch(event.target.value)} />
      </label>
      {user && (
        <label className="check">
          <input type="checkbox" checked={mine} onChange={(event) => setMine(event.target.checked)} />
          Only mine
        </label>
      )}
      <ul className="rows">
        {list.rows.map((article) => (
          <li key={article.id}>
            <h2>
              <Link href={`/articles/${article.id}`}>{article.title}</Link>
            </h2>
            <Byline article={article} />
          </li>
        ))}
      </ul>
      <ListEnd list={list} empty={q ? "Nothing is found." : "There are no articles yet."} />
    </Page>
  );
}

const Byline = ({ article }: { article: Article }) => (
  <p className="hint">
    {article.status !== "published" && <span className="badge">{article.status}</span>} {authorOf(article)},{" "}
    <Time at={article.published_at ?? article.created_at} />
  </p>
);

export function NewArticle() {
  async function create(text: Text): Promise<void> {
    const article = await api.articles.createArticle({ body: valuesOf(text) });
    navigate(`/articles/${article.id}`, { replace: true });
  }

  return (
    <Page title="New article">
      <Form submit="Save the draft" onSubmit={create} className="card">
        <ArticleFields />
      </Form>
    </Page>
  );
}

const ArticleFields = ({ article }: { article?: Article }) => (
  <>
    <Field name="title" label="Title" defaultValue={article?.title} required />
    <Field name="content" label="Text" defaultValue={article?.content ?? ""} rows={12} />
  </>
);

/** An article and its tag, with which changes are sent. */
interface Tagged {
  data: Article;
  etag: string | null;
}

export function ArticlePage({ id }: { id: string }) {
  const { user, say } = useSession();
  const [tagged, setTagged] = useState<Tagged | null>(null);
  const [error, setError] = useState("");
  // The article as it was when its author began to edit it, and whether it was changed since.
  const [draft, setDraft] = useState<Article | null>(null);
  const [isOutdated, setIsOutdated] = useState(false);

  async function read(): Promise<void> {
    setTagged(await api.articles.readArticle.response({ id }));
  }
  async function load(): Promise<void> {
    setError("");
    await read().catch((failure) => setError(messageOf(failure)));
  }
  useEffect(() => void load(), []);

  if (tagged === null) {
    return (
      <Page title="Article">
        <p role="status">{error || "Loading …"}</p>
        {error && (
          <div className="buttons">
            <button onClick={() => void load()}>Try again</button>
          </div>
        )}
      </Page>
    );
  }
  const { data: article, etag } = tagged;
  const ifMatch = etag ?? undefined;

  /** Send a change; if somebody else was faster, read what the article is now, and throw this sentence. */
  async function change<T>(send: () => Promise<T>, sentence: string): Promise<T> {
    try {
      return await send();
    } catch (failure) {
      if (!isApiError(failure, "PRECONDITION_FAILED")) throw failure;
      await read();
      throw new Told(sentence);
    }
  }

  async function act(action: "publishArticle" | "unpublishArticle" | "archiveArticle", done: string): Promise<void> {
    try {
      setTagged(await change(() => api.articles[action].response({ id, ifMatch }), CHANGED));
      say(done);
    } catch (failure) {
      say(messageOf(failure));
    }
  }

  function edit(now: Article | null): void {
    setDraft(now);
    setIsOutdated(false);
  }

  async function save(text: Text): Promise<void> {
    const send = () => api.articles.updateArticle.response({ id, ifMatch, body: valuesOf(text) });
    const saved = await change(send, OUTDATED).catch((failure: unknown) => {
      if (failure instanceof Told) setIsOutdated(true);
      throw failure;
    });
    setTagged(saved);
    edit(null);
    say("The article is saved.");
  }

  async function remove(): Promise<void> {
    await change(() => api.articles.deleteArticle({ id, ifMatch }), CHANGED);
    navigate("/", { replace: true });
    say("The article is deleted.");
  }

  if (draft !== null) {
    return (
      <Page title="Edit the article">
        <Form submit="Save" onSubmit={save} onCancel={() => edit(null)} className="card">
          <ArticleFields article={draft} />
        </Form>
        {isOutdated && (
          <section className="card" aria-label="The stored version">
            <h2>{article.title}</h2>
            <p className="text">{article.content ?? NO_TEXT}</p>
          </section>
        )}
      </Page>
    );
  }
  return (
    <Page title={article.title}>
      <Byline article={article} />
      {article.author_id === user?.id && (
        <div className="buttons">
          {article.status === "published" ? (
            <button onClick={() => void act("unpublishArticle", "The article is a draft again.")}>Unpublish</button>
          ) : (
            <button className="primary" onClick={() => void act("publishArticle", "The article is published.")}>
              Publish
            </button>
          )}
          {article.status !== "archived" && (
            <button onClick={() => void act("archiveArticle", "The article is archived.")}>Archive</button>
          )}
          <button onClick={() => edit(article)}>Edit</button>
          <Question action="Delete" question={`Delete “${article.title}”?`} onAgree={remove} />
        </div>
      )}
      <p className="text">{article.content ?? NO_TEXT}</p>
    </Page>
  );
}
