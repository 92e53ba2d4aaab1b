"""Rows that belong to a user. Callers see their own, and with a permission those of all users.

A service declares its rows once, and calls these functions where the order of checks has them:

    NOTES = OwnedRows(Note, queries.NOTES, NoteNotFoundError, admin="notes:admin")

    async def get_note(reader: QueryRunner, by: Caller, note_id: UUID) -> NoteOut:
        by.must("notes:read")
        return await read_visible(reader, NOTES, by, note_id)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.errors import AppError, PermissionDeniedError
from backend.core.lists import ListQuery, Page, ResourceList, read_page
from backend.core.preconditions import check_preconditions
from backend.core.principal import Caller, Principal
from backend.core.schemas import Schema
from backend.db.base import utc_now, uuid7
from backend.db.lists.page_bytes import rows_within
from backend.db.queries import KeyedQuery
from backend.db.query_runner import QueryRunner, Row
from backend.db.session_reader import RowReader


class _OwnedRow(Protocol):
    owner_id: UUID

    def model_dump(self) -> dict[str, Any]: ...


M = TypeVar("M", bound=_OwnedRow)
S = TypeVar("S", bound=Schema)


@dataclass(frozen=True)
class OwnedRows(Generic[M, S]):
    """A table with the column `owner_id`.

    listed   its list, with the filter `owner_id` and the scope `owner`
    missing  the error for a row that does not exist or that the caller does not see
    admin    the permission that lifts the ownership limit
    """

    model: type[M]
    listed: ResourceList[S]
    missing: type[AppError]
    admin: str

    @cached_property
    def by_id(self) -> KeyedQuery:
        max_keys = rows_within(self.listed.large.values())
        return KeyedQuery(self.listed.statement, self.listed.key, max_keys=max_keys)

    def sees(self, by: Caller, owner_id: UUID) -> bool:
        return owner_id == by.user_id or by.may(self.admin)


async def read_visible_page(
    reader: QueryRunner, rows: OwnedRows[M, S], by: Caller, query: ListQuery
) -> Page[S]:
    """Read a page of the rows that the caller sees.

    Raise `PermissionDeniedError` if the query filters by another owner without the permission.
    """
    if by.may(rows.admin):
        return await read_page(reader, rows.listed, query)
    if query.filters.get("owner_id", by.user_id) != by.user_id:
        raise PermissionDeniedError
    return await read_page(reader, rows.listed, query, owner=by.user_id)


async def read_visible(reader: RowReader, rows: OwnedRows[M, S], by: Caller, id: UUID) -> S:
    """Read a row; raise the error `missing` unless the caller sees it."""
    row = await reader.find(rows.by_id, id)
    if row is None or not rows.sees(by, row["owner_id"]):
        raise rows.missing
    return rows.listed.schema.from_row(row)


async def lock_visible(session: AsyncSession, rows: OwnedRows[M, S], by: Caller, id: UUID) -> M:
    """Return the row, locked for a change; raise the error `missing` unless the caller sees it.

    Then check the preconditions of the request.
    """
    row = await session.get(rows.model, id, with_for_update=True)
    if row is None or not rows.sees(by, row.owner_id):
        raise rows.missing
    await check_preconditions(lambda: rows.listed.schema.from_row(row.model_dump()))
    return row


def new_row(by: Principal, new: Schema) -> Row:
    """Return the columns of a new row that the caller owns, with the other members of `new`."""
    now = utc_now()
    return {
        **new.model_dump(),
        "id": uuid7(),
        "owner_id": by.user_id,
        "created_at": now,
        "updated_at": now,
    }


def apply_changes(row: Any, changes: Schema) -> tuple[Row, Row]:
    """Set the members that were sent; return them with their former and with their new values."""
    after = changes.model_dump()
    before = {name: getattr(row, name) for name in after}
    for name, value in after.items():
        setattr(row, name, value)
    return before, after
