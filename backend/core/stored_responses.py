"""Stored responses: results of requests with an Idempotency-Key, kept by a module for repetition.

The module declares a `ResponseStore`; `core.http.idempotency` uses it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.query_runner import Query

KEPT_HOURS = 24


@dataclass(frozen=True)
class StoredResponse:
    """A response, and the request that it belongs to.

    `id` identifies caller, route and key. `request_hash` is a keyed hash of query and body.
    `user_id` is None for an anonymous caller. `permissions` are those of the caller.
    """

    id: UUID
    request_hash: bytes
    user_id: UUID | None
    permissions: Sequence[str]
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class ResponseStore:
    """Where responses are kept for `KEPT_HOURS`.

    find   query for the response with the parameter `id` that has not expired; its columns are the
           fields of `StoredResponse`
    keep   stores a response in the transaction of its request, in place of an expired one
    """

    find: Query
    keep: Callable[[AsyncSession, StoredResponse], Awaitable[None]]
