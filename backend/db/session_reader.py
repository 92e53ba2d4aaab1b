"""Reads of a transaction."""

from collections.abc import Coroutine
from typing import Any, Protocol
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.queries import KeyedQuery, Query
from backend.db.query_runner import Row, Rows


class RowReader(Protocol):
    """Runs queries: a `QueryRunner`, or a `SessionReader` for reads of a transaction."""

    def all(self, query: Query, /, **values: Any) -> Rows:
        """Return all rows, each a dictionary by column name."""

    def first(self, query: Query, /, **values: Any) -> Coroutine[Any, Any, Row | None]:
        """Return the first row, or None if there is none."""

    def find(self, query: KeyedQuery, key: UUID) -> Coroutine[Any, Any, Row | None]:
        """Return the row with this id, or None if there is none."""


class SessionReader:
    """Runs queries in a session's transaction, which sees its own writes."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self, query: Query, /, **values: Any) -> list[Row]:
        """Return all rows, each a dictionary by column name."""
        connection = await self._session.connection()
        found = await connection.exec_driver_sql(query.sql, query.parameters(values))
        return [dict(row) for row in found.mappings()]

    async def first(self, query: Query, /, **values: Any) -> Row | None:
        """Return the first row, or None if there is none."""
        rows = await self.all(query, **values)
        return rows[0] if rows else None

    async def find(self, query: KeyedQuery, key: UUID) -> Row | None:
        """Return the row with this id, or None if there is none."""
        return await self.first(query, keys=[key])
