import { useEffect, useState } from "react";
import { isApiError, type Schemas } from "trellis-client";
import { messageOf } from "../errors";
import { Field, Form, type Text } from "../forms";
import { ListEnd, useList } from "../lists";
import { Page, Question, Time } from "../parts";
import { Link, navigate } from "../router";
import { api, useSession } from "../session";

type Article = Schemas["ArticleOut"];

const valuesOf = (text: Text) => ({ title: text("title"), content: text("content") || null });
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
  const [isEdited, setIsEdited] = useState(false);

  async function load(): Promise<void> {
    try {
      setTagged(await api.articles.readArticle.response({ id }));
    } catch (failure) {
      setError(messageOf(failure));
    }
  }
  useEffect(() => void load(), [id, user?.id]);

  if (tagged === null) {
    return (
      <Page title="Article">
        <p role="status">{error || "Loading …"}</p>
      </Page>
    );
  }
  const { data: article, etag } = tagged;
  const ifMatch = etag ?? undefined;

  /** Change the article; if somebody else has changed it meanwhile, show what it is now. */
  async function change(send: () => Promise<Tagged>, done: string): Promise<void> {
    try {
      setTagged(await send());
      say(done);
    } catch (failure) {
      if (!isApiError(failure, "PRECONDITION_FAILED")) throw failure;
      await load();
      say("The article has been changed elsewhere; this is its present state. Please try again.");
    }
  }

  const act = (action: "publishArticle" | "unpublishArticle" | "archiveArticle", done: string) => () =>
    void change(() => api.articles[action].response({ id, ifMatch }), done).catch((failure) => say(messageOf(failure)));

  async function save(text: Text): Promise<void> {
    await change(() => api.articles.updateArticle.response({ id, ifMatch, body: valuesOf(text) }), "The article is saved.");
    setIsEdited(false);
  }

  async function remove(): Promise<void> {
    await api.articles.deleteArticle({ id, ifMatch });
    navigate("/", { replace: true });
    say("The article is deleted.");
  }

  if (isEdited) {
    return (
      <Page title="Edit the article">
        <Form submit="Save" onSubmit={save} onCancel={() => setIsEdited(false)} className="card">
          <ArticleFields key={etag} article={article} />
        </Form>
      </Page>
    );
  }
  return (
    <Page title={article.title}>
      <Byline article={article} />
      {article.author_id === user?.id && (
        <div className="buttons">
          {article.status === "published" ? (
            <button onClick={act("unpublishArticle", "The article is a draft again.")}>Unpublish</button>
          ) : (
            <button className="primary" onClick={act("publishArticle", "The article is published.")}>
              Publish
            </button>
          )}
          {article.status !== "archived" && (
            <button onClick={act("archiveArticle", "The article is archived.")}>Archive</button>
          )}
          <button onClick={() => setIsEdited(true)}>Edit</button>
          <Question action="Delete" question={`Delete “${article.title}”?`} onAgree={remove} />
        </div>
      )}
      <p className="text">{article.content ?? "It has no text yet."}</p>
    </Page>
  );
}
