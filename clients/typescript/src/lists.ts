// All rows of a list, page after page.

/** A page of any list. */
export interface Page {
  data: unknown[];
  next_cursor: string | null;
}
interface ListInput {
  query?: Record<string, unknown>;
}

/** Yield the pages of a list, each requested when it is needed. */
export async function* pages<Input extends ListInput>(
  fetchPage: (input: Input) => Promise<Page>,
  input: Input,
): AsyncGenerator<Page, void, undefined> {
  let next = input;
  for (;;) {
    const page = await fetchPage(next);
    yield page;
    if (page.next_cursor === null) return;
    // A cursor replaces the offset of the first page, and the total was counted with that page.
    const { offset: _offset, total: _total, ...query } = input.query ?? {};
    next = { ...input, query: { ...query, cursor: page.next_cursor } };
  }
}

/** Yield the rows of a list. */
export async function* iterate<Input extends ListInput>(
  fetchPage: (input: Input) => Promise<Page>,
  input: Input,
): AsyncGenerator<unknown, void, undefined> {
  for await (const page of pages(fetchPage, input)) yield* page.data;
}
