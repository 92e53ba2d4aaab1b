"""Requests that a client may safely repeat: `Idempotency-Key`.

The first response is stored in the transaction of the write, so the key exists exactly when the
write does. Errors store nothing. A repetition gets the stored response. An advisory lock, held by
the first request until its transaction ends, refuses repetitions meanwhile.
"""

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from backend.addresses.ip_addresses import address_key
from backend.core.client_info import client_address
from backend.core.context import Context, context_of
from backend.core.errors import (
    FieldError,
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    PermissionDeniedError,
)
from backend.core.principal import Principal
from backend.core.stored_responses import ResponseStore, StoredResponse, key_lock, subjects_of
from backend.db.transactions import before_first_statement, commit_with, discard

HEADER = b"idempotency-key"
KEY_PATTERN = "^[!-~]{1,255}$"
REPLAYED = "idempotency-replayed"
# A thread hashes larger bodies: 16 MiB would stop the event loop for half a second.
BYTES_IN_LOOP = 256 * 1024
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_KEY = re.compile(KEY_PATTERN.strip("^$"))
_KEPT_HEADERS = ("content-type", "location", "etag", "cache-control", "vary")
_LOCK = "SELECT pg_try_advisory_xact_lock(%(lock)s)"
Respond = Callable[[], Awaitable[Response]]


class _AlreadyStoredError(Exception):
    """The first request has committed between the first look and the lock."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        super().__init__()
        self.stored = stored


@dataclass
class _Claim:
    """The key of a request, which the first statement of its transaction locks."""

    store: ResponseStore
    id: UUID
    is_locked: bool = False

    def lock(self, _session: object, _transaction: object, connection: Connection) -> None:
        """Handle SQLAlchemy's event `after_begin`, which savepoints cause as well."""
        if self.is_locked:
            return
        self.is_locked = True
        parameters = {"lock": key_lock(self.id)}
        if not connection.exec_driver_sql(_LOCK, parameters).scalar_one():
            raise IdempotencyInProgressError
        # A statement of its own, because its snapshot must be newer than the lock.
        query = self.store.find
        found = connection.exec_driver_sql(query.sql, query.parameters({"id": self.id}))
        if stored := found.mappings().first():
            raise _AlreadyStoredError(dict(stored))


def has_key(request: Request) -> bool:
    return any(name == HEADER for name, _ in request.scope["headers"])


async def respond_once(request: Request, session: AsyncSession, respond: Respond) -> Response:
    """Return the response of `respond`, or the one that the request's key has already.

    `session` is that of `respond`, without a transaction yet. Raise `InvalidInputError` for a
    malformed key, `IdempotencyKeyReusedError` for another request with this key,
    `PermissionDeniedError` if the caller has lost a permission since the first one, and
    `IdempotencyInProgressError` while the first one runs.
    """
    key = _key_of(request)
    context = context_of(request)
    store = context.response_store
    if store is None:
        raise RuntimeError("Idempotency-Key needs a module that declares a `response_store`.")
    principal: Principal | None = request.scope["principal"]
    claim = _Claim(store, _id_of(request, principal, key))
    hashes = await _hashes_of(context, request)
    stored = await _find(context, store, claim.id)
    if stored is None:
        before_first_statement(session, claim.lock)
        try:
            response = await respond()
            to_store = _to_store(response, claim.id, hashes[0], principal)
            is_kept = await _keep(context, store, session, to_store)
        except _AlreadyStoredError as found:
            # An error in a flush leaves the session in a state that cannot be committed.
            await discard(session)
            stored = found.stored
        else:
            # A dependency may use the session after the commit, in a transaction without the lock.
            claim.is_locked = True
            if is_kept:
                return response
            stored = await _find(context, store, claim.id)
            if stored is None:
                raise IdempotencyInProgressError
    if not any(hmac.compare_digest(stored["request_hash"], each) for each in hashes):
        raise IdempotencyKeyReusedError
    # The service may have required more than the route does.
    if principal is not None and not principal.may_all(set(stored["permissions"])):
        raise PermissionDeniedError
    headers = {**dict(stored["headers"]), REPLAYED: "true"}
    return Response(stored["body"], stored["status"], headers)


async def _find(
    context: Context, store: ResponseStore, response_id: UUID
) -> Mapping[str, Any] | None:
    # The statement that concurrent requests share reads no bodies, which may be large.
    if await context.database.primary.find(store.contains, response_id) is None:
        return None
    return await context.database.primary.first(store.find, id=response_id)


async def _keep(
    context: Context, store: ResponseStore, session: AsyncSession, response: StoredResponse
) -> bool:
    """Store a response with its write; return False if another request has or gets the key."""
    # A write of one row is committed together with its response, by one statement.
    guard = store.guard(response)
    done = None if guard is None else await commit_with(session, guard)
    if done is None:
        await store.keep(context, session, replace(response, subject_ids=subjects_of(session)))
        return True
    return done


def _to_store(
    response: Response, key_id: UUID, request_hash: bytes, principal: Principal | None
) -> StoredResponse:
    kept = [(name, value) for name, value in response.headers.items() if name in _KEPT_HEADERS]
    return StoredResponse(
        id=key_id,
        request_hash=request_hash,
        user_id=principal.user_id if principal else None,
        subject_ids=None,
        permissions=sorted(principal.permissions) if principal else [],
        status=response.status_code,
        headers=kept,
        body=bytes(response.body),
    )


def _key_of(request: Request) -> str:
    lines = request.headers.getlist(HEADER.decode())
    if len(lines) == 1 and _KEY.fullmatch(lines[0]):
        return lines[0]
    raise InvalidInputError(
        errors=[
            FieldError(
                field="header.Idempotency-Key",
                message="Must be one line of 1 to 255 visible ASCII characters.",
                code="idempotency_key",
            )
        ]
    )


def _id_of(request: Request, principal: Principal | None, key: str) -> UUID:
    """Return the id of a key, which belongs to the user, or to the anonymous client's address."""
    caller = principal.user_id if principal else address_key(client_address(request.scope))
    kind = "user" if principal else "address"
    parts = kind, str(caller), request.method, request.scope["path"], key
    return UUID(bytes=sha256("\n".join(parts).encode()).digest()[:16])


async def _hashes_of(context: Context, request: Request) -> list[bytes]:
    """Return keyed hashes of query and body: by the current key, then by the previous ones.

    They do not depend on white space and on the order of members.
    """
    sent = await request.body()
    # FastAPI has parsed the body without an error.
    body = await request.json() if sent else None
    arguments = context.keys("idempotency"), request.scope["query_string"], body
    if len(sent) > BYTES_IN_LOOP:
        return await asyncio.to_thread(_hashes, *arguments)
    return _hashes(*arguments)


def _hashes(keys: Sequence[bytes], query: bytes, body: Any) -> list[bytes]:
    """Hash piece by piece: encoding at once would not let the event loop run meanwhile."""
    macs = [hmac.new(key, query + b"\n", "sha256") for key in keys]
    for piece in _CANONICAL.iterencode(body):
        encoded = piece.encode()
        for mac in macs:
            mac.update(encoded)
    return [mac.digest() for mac in macs]
