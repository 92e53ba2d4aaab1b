"""The indexes that a list needs."""

from collections.abc import Iterable, Iterator

from sqlalchemy import Index


def list_indexes(
    owner: str,
    *,
    sorts: Iterable[str],
    filters: Iterable[str] = (),
    default_sort: str = "created_at",
) -> Iterator[Index]:
    """Yield the indexes of a list: for the rows of one owner, and for those of all owners.

    There are two for each sort, and two for each filter, which is used with the default sort. All
    arguments are names of columns.
    """
    keys = [*((sort,) for sort in sorts), *((name, default_sort) for name in filters)]
    for key in keys:
        # Without a name of their own, they are named after their columns.
        yield Index(None, owner, *key, "id")
        yield Index(None, *key, "id")
