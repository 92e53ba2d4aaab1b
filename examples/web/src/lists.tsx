// Lists without an end: pages are added by cursor as the reader reaches the bottom.
import { useEffect, useRef, useState } from "react";
import { messageOf } from "./errors";

interface Page<Row> {
  data: Row[];
  next_cursor: string | null;
}

export interface List<Row> {
  rows: Row[];
  state: "loading" | "more" | "complete" | "failed";
  error: string;
  more(): void;
  /** Add a row at the top. */
  prepend(row: Row): void;
  replace(row: Row): void;
  remove(id: string): void;
}

// While somebody types, only the last text is searched.
const PAUSE = 250;

/** The rows of a list. When `query` changes, it begins anew. */
export function useList<Row extends { id: string }>(
  load: (cursor: string | undefined, signal: AbortSignal) => Promise<Page<Row>>,
  query: string,
): List<Row> {
  const [rows, setRows] = useState<Row[]>([]);
  const [next, setNext] = useState<string | null>();
  const [state, setState] = useState<List<Row>["state"]>("loading");
  const [error, setError] = useState("");
  const current = useRef(new AbortController());

  async function fetchPage(cursor: string | undefined, { signal }: AbortController): Promise<void> {
    setState("loading");
    try {
      const page = await load(cursor, signal);
      setRows((before) => (cursor === undefined ? page.data : [...before, ...page.data]));
      setNext(page.next_cursor);
      setError("");
      setState(page.next_cursor === null ? "complete" : "more");
    } catch (failure) {
      if (signal.aborted) return;
      setError(messageOf(failure));
      setState("failed");
    }
  }

  useEffect(() => {
    const controller = new AbortController();
    current.current = controller;
    const timer = setTimeout(() => void fetchPage(undefined, controller), next === undefined ? 0 : PAUSE);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [query]);

  return {
    rows,
    state,
    error,
    more: () => void fetchPage(next ?? undefined, current.current),
    prepend: (row) => setRows((before) => [row, ...before]),
    replace: (row) => setRows((before) => before.map((each) => (each.id === row.id ? row : each))),
    remove: (id) => setRows((before) => before.filter((each) => each.id !== id)),
  };
}

/** The end of a list: it loads more when it comes into view, and is a button for the keyboard. */
export function ListEnd<Row>({ list, empty }: { list: List<Row>; empty: string }) {
  const button = useRef<HTMLButtonElement>(null);
  const status = useRef<HTMLParagraphElement>(null);
  const isPressed = useRef(false);
  const { rows, state } = list;

  // The last page removes the button, which may have had the focus.
  useEffect(() => {
    if (state !== "complete") return;
    if (isPressed.current && document.activeElement === document.body) status.current?.focus({ preventScroll: true });
    isPressed.current = false;
  }, [state]);

  function press(): void {
    isPressed.current = true;
    if (state !== "loading") list.more();
  }

  useEffect(() => {
    if (state !== "more" || button.current === null) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && list.more(), { rootMargin: "200px" });
    observer.observe(button.current);
    return () => observer.disconnect();
  }, [state, rows.length]);

  return (
    <div className="list-end">
      <p ref={status} role="status" tabIndex={-1} className={state === "failed" ? "alert" : "hint"}>
        {state === "loading" && "Loading …"}
        {state === "failed" && list.error}
        {state === "complete" && (rows.length === 0 ? empty : `${rows.length} in all.`)}
      </p>
      {(state === "more" || list.error !== "" || (state === "loading" && rows.length > 0)) && (
        <button ref={button} aria-disabled={state === "loading"} onClick={press}>
          {list.error === "" ? "Show more" : "Try again"}
        </button>
      )}
    </div>
  );
}
