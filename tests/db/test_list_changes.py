"""Pages return no row twice and leave none out while rows come and go."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.db.shelf import BOUNDED, RANKED, ROWS, SORTS, Shelf, ids, in_order
from tests.examples import examples

FEW = settings(BOUNDED, max_examples=examples(25))
# Changes between two pages: positions of rows to delete, and rows to insert.
CHANGES = st.lists(st.tuples(st.lists(st.integers(0, 40), max_size=4), ROWS), max_size=6)


async def walk_during(
    shelf: Shelf, rows: list[dict[str, Any]], changes: Any, **query: Any
) -> tuple[list[dict[str, Any]], set[Any]]:
    """Return the rows of all pages, and the ids of those that existed all the time."""
    present = {row["id"] for row in rows}
    known = list(rows)
    steps = iter(changes)
    seen: list[dict[str, Any]] = []
    cursor = None
    shelf.fill(rows)
    while True:
        page = await shelf.page(cursor=cursor, **query)
        seen += page.rows
        cursor = page.next_cursor
        if cursor is None:
            return seen, present
        deleted, inserted = next(steps, ([], []))
        gone = {known[at % len(known)]["id"] for at in deleted}
        shelf.connection.execute("DELETE FROM made_things WHERE id = ANY(%s)", [list(gone)])
        present -= gone
        new = [row for row in inserted if row["id"] not in {each["id"] for each in known}]
        shelf.insert(new)
        known += new


@FEW
@given(rows=ROWS, changes=CHANGES, sort=SORTS, limit=st.integers(1, 5), data=st.data())
async def test_no_sort_repeats_or_misses_a_row(
    shelf: Shelf, rows: list[dict[str, Any]], changes: Any, sort: tuple[str, ...], **drawn: Any
) -> None:
    """Also with a few columns only, and with a scope of two conditions."""
    members = drawn["data"].draw(st.sampled_from([None, ("name",), ("id", "remark"), ("size",)]))
    scopes = drawn["data"].draw(st.sampled_from([{}, {"larger_or_remarked": 0}]))
    # The key is part of each page, so that rows can be told apart.
    fields = None if members is None else {"id", *members}
    seen, present = await walk_during(
        shelf, rows, changes, sort=sort, limit=drawn["limit"], fields=fields, scopes=scopes
    )
    assert len(seen) == len(set(ids(seen)))
    visible = [row for row in rows if not scopes or row["size"] > 0 or row["remark"] is not None]
    stayed = [row for row in visible if row["id"] in present]
    met = [id for id in ids(seen) if id in present and id in {row["id"] for row in rows}]
    assert met == in_order(stayed, sort)


@FEW
@given(rows=ROWS, changes=CHANGES, limit=st.integers(1, 5), q=st.sampled_from(["a", "Z", ""]))
async def test_no_ranked_search_repeats_or_misses_a_row(
    shelf: Shelf, rows: list[dict[str, Any]], changes: Any, limit: int, q: str
) -> None:
    shelf.fill(rows)
    whole = ids((await shelf.page(RANKED, q=q, limit=100)).rows)
    seen, present = await walk_during(shelf, rows, changes, listing=RANKED, q=q, limit=limit)
    assert len(seen) == len(set(ids(seen)))
    met = [id for id in ids(seen) if id in present and id in whole]
    assert met == [id for id in whole if id in present]


@FEW
@given(rows=ROWS, sort=SORTS, limit=st.integers(1, 7), skip=st.integers(0, 30))
async def test_scope_of_two_conditions_is_one_sorted_list(
    shelf: Shelf, rows: list[dict[str, Any]], sort: tuple[str, ...], limit: int, skip: int
) -> None:
    shelf.fill(rows)
    scopes = {"larger_or_remarked": 1}
    visible = [row for row in rows if row["size"] > 1 or row["remark"] is not None]
    expected = in_order(visible, sort)
    assert ids(await shelf.walk(sort=sort, limit=limit, scopes=dict(scopes))) == expected
    page = await shelf.page(sort=sort, limit=limit, offset=skip, total=True, scopes=scopes)
    assert (ids(page.rows), page.total) == (expected[skip : skip + limit], len(visible))
