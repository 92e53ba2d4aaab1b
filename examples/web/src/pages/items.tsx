import { startTransition, useEffect, useOptimistic, useRef, useState } from "react";
import { isApiError, type Schemas } from "trellis-client";
import { type Failure, failureOf, messageOf } from "../errors";
import { Field, Form, type Text } from "../forms";
import { type List, ListEnd, useList } from "../lists";
import { focusHeading, Page, Question, Time } from "../parts";
import { api, useSession } from "../session";

type Item = Schemas["ItemOut"];
type Values = Pick<Item, "title" | "description">;

const valuesOf = (text: Text): Values => ({ title: text("title"), description: text("description") || null });

export function Items() {
  const { say } = useSession();
  const [search, setSearch] = useState("");
  const q = search.trim() || undefined;
  const list = useList((cursor, signal) => api.items.listItems({ query: { q, cursor }, signal }), q ?? "");

  async function create(text: Text, form: HTMLFormElement): Promise<void> {
    const item = await api.items.createItem({ body: valuesOf(text) });
    list.prepend(item);
    form.reset();
    form.querySelector("input")?.focus();
    say(`“${item.title}” is added.`);
  }

  return (
    <Page title="Items">
      <Form submit="Add" onSubmit={create} label="New item" className="card">
        <ItemFields />
      </Form>
      <label className="search">
        Search
        <input type="search" value={search} onChange={(event) => setSearch(event.target.value)} />
      </label>
      <ul className="rows">
        {list.rows.map((item) => (
          <ItemRow key={item.id} item={item} list={list} />
        ))}
      </ul>
      <ListEnd list={list} empty={q ? "Nothing is found." : "There are no items yet."} />
    </Page>
  );
}

const ItemFields = ({ item, focus = false }: { item?: Values; focus?: boolean }) => (
  <>
    <Field name="title" label="Title" defaultValue={item?.title} autoFocus={focus} required />
    <Field name="description" label="Description (optional)" defaultValue={item?.description ?? ""} rows={2} />
  </>
);

/** The state of an item that is being edited. */
interface Draft {
  values: Values;
  /** The tag of the version that the user has seen. */
  etag: string;
  failure?: Failure;
}

function ItemRow({ item, list }: { item: Item; list: List<Item> }) {
  const { say } = useSession();
  const [draft, setDraft] = useState<Draft | null>(null);
  // What the row shows until the server responds: the item as it will be, or null without it. After
  // an error, React shows the item as it was.
  const [shown, setShown] = useOptimistic<Item | null>(item);
  const editButton = useRef<HTMLButtonElement>(null);
  const isEdited = draft !== null;
  const wasEdited = useRef(false);
  const isPresent = useRef(true);
  const isDeleted = shown === null;

  useEffect(() => {
    if (wasEdited.current && !isEdited) editButton.current?.focus();
    wasEdited.current = isEdited;
  }, [isEdited]);

  useEffect(() => {
    isPresent.current = true;
    return () => {
      isPresent.current = false;
    };
  }, []);

  // The row is gone, and its dialog, which had the focus.
  useEffect(() => {
    if (isDeleted) focusHeading();
  }, [isDeleted]);

  async function edit(): Promise<void> {
    if (shown !== item) return;
    try {
      const { data, etag } = await read();
      setDraft({ values: data, etag });
    } catch (error) {
      say(messageOf(error));
    }
  }

  async function read(): Promise<{ data: Item; etag: string }> {
    try {
      const { data, etag } = await api.items.readItem.response({ id: item.id });
      list.replace(data);
      return { data, etag: etag ?? "" };
    } catch (error) {
      if (isApiError(error, "ITEM_NOT_FOUND")) list.remove(item.id);
      throw error;
    }
  }

  function save(values: Values, etag: string): void {
    setDraft(null);
    startTransition(async () => {
      setShown({ ...item, ...values });
      try {
        list.replace(await api.items.updateItem({ id: item.id, ifMatch: etag, body: values }));
      } catch (error) {
        if (isPresent.current) await reopen(values, etag, error);
        else say(`“${values.title}” is not saved: ${messageOf(error)}`);
      }
    });
  }

  /** Show the form again, with the text of the user and the reason. */
  async function reopen(values: Values, etag: string, error: unknown): Promise<void> {
    if (!isApiError(error, "PRECONDITION_FAILED")) {
      setDraft({ values, etag, failure: failureOf(error) });
      return;
    }
    try {
      const now = await read();
      const text = [now.data.title, now.data.description].filter(Boolean).join(": ");
      const message = `Somebody else has changed this item to “${text}”. Save again to replace that.`;
      setDraft({ values, etag: now.etag, failure: { message, fields: {} } });
    } catch (lost) {
      say(messageOf(lost));
    }
  }

  async function remove(): Promise<void> {
    startTransition(async () => {
      setShown(null);
      try {
        await api.items.deleteItem({ id: item.id });
      } catch (error) {
        // After a lost response, the client repeats the request: the item may be deleted already.
        if (!isApiError(error, "ITEM_NOT_FOUND")) {
          say(messageOf(error));
          return;
        }
      }
      list.remove(item.id);
      say(`“${item.title}” is deleted.`);
    });
  }

  if (shown === null) return null;
  if (draft !== null) {
    return (
      <li>
        <Form
          submit="Save"
          label={`Edit ${item.title}`}
          failure={draft.failure}
          onSubmit={async (text) => save(valuesOf(text), draft.etag)}
          onCancel={() => setDraft(null)}
        >
          <ItemFields item={draft.values} focus={draft.failure === undefined} />
        </Form>
      </li>
    );
  }
  return (
    <li className="row" aria-busy={shown !== item}>
      <div>
        <h2>{shown.title}</h2>
        {shown.description && <p>{shown.description}</p>}
        <p className="hint">{shown === item ? <Time at={shown.created_at} /> : "Saving …"}</p>
      </div>
      <div className="buttons">
        <button ref={editButton} aria-label={`Edit ${shown.title}`} aria-disabled={shown !== item} onClick={() => void edit()}>
          Edit
        </button>
        <Question
          action="Delete"
          label={`Delete ${shown.title}`}
          question={`Delete “${shown.title}”?`}
          disabled={shown !== item}
          onAgree={remove}
        />
      </div>
    </li>
  );
}
