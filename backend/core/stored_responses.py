"""Stored responses: results of requests with an Idempotency-Key, kept by a module for repetition.

The module declares a `ResponseStore`; `core.http.idempotency` uses it. A service that creates rows
about other users than its caller names them with `add_subjects`: a stored response is erased with
its caller and with each of its subjects.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.db.queries import KeyedQuery, Query
from backend.db.transactions import BoundStatement

KEPT_HOURS = 24
_SUBJECTS = "response_subjects"


def add_subjects(session: AsyncSession, user_ids: Iterable[UUID]) -> None:
    """Note that the response to the request of this session contains data of these users."""
    session.info.setdefault(_SUBJECTS, set()).update(user_ids)


def subjects_of(session: AsyncSession) -> list[UUID] | None:
    """Return the ids passed to `add_subjects`, or None without any."""
    return sorted(session.info.get(_SUBJECTS, ())) or None


@dataclass(frozen=True)
class StoredResponse:
    """A response, and the request that it belongs to.

    `id` identifies caller, route and key. `request_hash` is a keyed hash of query and body.
    `user_id` is None for an anonymous caller. `subject_ids` are further users whose data the
    response contains. `permissions` are those of the caller.
    """

    id: UUID
    request_hash: bytes
    user_id: UUID | None
    subject_ids: Sequence[UUID] | None
    permissions: Sequence[str]
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes = field(repr=False)


def key_lock(response_id: UUID) -> int:
    """Return the number of the advisory lock that the first request with a key holds."""
    return int.from_bytes(response_id.bytes[:8], signed=True)


@dataclass(frozen=True)
class ResponseStore:
    """Where responses are kept for `KEPT_HOURS`.

    contains  query for the ids of responses that have not expired
    find      query for such a response with the parameter `id`; its columns are the fields of
              `StoredResponse`
    guard     returns a statement with RETURNING, bound to values, that stores a response in place
              of an expired one, if it gets the advisory lock `key_lock` of its id; None for a
              response that only `keep` can store
    keep      stores a response in the transaction of its request, in place of an expired one; its
              first argument is the context
    """

    contains: KeyedQuery
    find: Query
    guard: Callable[[StoredResponse], BoundStatement | None]
    keep: Callable[[Any, AsyncSession, StoredResponse], Awaitable[None]]
