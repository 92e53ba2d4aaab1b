"""The record of what was done: the use cases."""

import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, cast, insert, literal, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.client_info import client_info
from backend.core.context import Context, ExportPages
from backend.core.lists import ListQuery, Page, read_all, read_page
from backend.core.personal_data import export_query
from backend.core.principal import Caller, Principal
from backend.db.arrays import unnested
from backend.db.base import utc_now, uuid7
from backend.db.query_runner import QueryRunner, Row
from backend.modules.audit import queries
from backend.modules.audit.digests import signing_keys
from backend.modules.audit.models import AuditEvent, AuditWaiting
from backend.modules.audit.schemas import AuditEventOut, Outcome
from backend.modules.audit.verification import Anchor, Progress, VerificationResult, examine

__all__ = [
    "Anchor",
    "Outcome",
    "VerificationResult",
    "changes_of",
    "export_events",
    "keep_events",
    "list_events",
    "record",
    "record_all",
    "record_delete",
    "record_update",
    "verify",
]

CHANGED = {"changed": True}
_SECRET = re.compile("password|secret|token$")
_MAX_TEXT = 500
_EVENTS = AuditEvent.__table__  # type: ignore[attr-defined]  # set by SQLModel's metaclass
_WAITING = AuditWaiting.__table__  # type: ignore[attr-defined]  # the same
# One statement writes the event and leaves its id for the sealer.
_EVENT = (
    insert(_EVENTS)
    .values({column.name: bindparam(column.name) for column in _EVENTS.c})
    .returning(_EVENTS.c.id)
    .cte("event")
)
_INSERT = insert(_WAITING).from_select(["event_id"], select(_EVENT.c.id)).add_cte(_EVENT)
_MANY = unnested({"id": Uuid, "target_id": Text, "changes": Text})
_OF_ALL = ("occurred_at", "actor_id", "action", "target_type", "ip", "user_agent", "request_id")
_MANY_EVENTS = (
    insert(_EVENTS)
    .from_select(
        ["id", "target_id", "changes", "outcome", *_OF_ALL],
        select(
            _MANY.c.id,
            _MANY.c.target_id,
            cast(_MANY.c.changes, JSONB),
            literal("success"),
            *(bindparam(name, type_=_EVENTS.c[name].type) for name in _OF_ALL),
        ),
    )
    .returning(_EVENTS.c.id)
    .cte("events")
)
_INSERT_MANY = (
    insert(_WAITING).from_select(["event_id"], select(_MANY_EVENTS.c.id)).add_cte(_MANY_EVENTS)
)
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


async def record(
    session: AsyncSession,
    action: str,
    *,
    target: tuple[str, UUID | str] | None = None,
    outcome: Outcome = "success",
    actor_id: UUID | None = None,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Write down what this session's transaction does, so that both are stored or neither.

    `target` is a type and an id, such as ("user", id). `actor_id` is needed only where the caller
    is not the one who is signed in. `changes` is JSON by member name, as `changes_of` makes it.
    """
    found = client_info()
    target_type, target_id = target or (None, None)
    values = {
        "id": uuid7(),
        "occurred_at": utc_now(),
        "actor_id": actor_id or found.user_id,
        "action": action,
        "target_type": target_type,
        "target_id": None if target_id is None else str(target_id),
        "outcome": outcome,
        "ip": found.ip,
        "user_agent": found.user_agent,
        "request_id": found.request_id,
        "changes": _silenced(changes) if changes else None,
    }
    await session.exec(_INSERT, params=values)


async def record_update(
    session: AsyncSession,
    by: Caller,
    target: tuple[str, UUID],
    owner_id: UUID,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    hidden: Collection[str] = (),
) -> None:
    """Record that the caller changed a row of another user, as `<type of target>.update`.

    Changes of one's own rows are not recorded. `changes_of` explains the last three arguments.
    """
    changes = changes_of(before, after, hidden=hidden)
    if changes and owner_id != by.user_id:
        action = f"{target[0]}.update"
        await record(session, action, target=target, actor_id=by.user_id, changes=changes)


async def record_delete(
    session: AsyncSession, by: Caller, target: tuple[str, UUID], gone: Mapping[str, Any]
) -> None:
    """Record that the caller deleted a row, as `<type of target>.delete`; `gone` are its values."""
    action, changes = f"{target[0]}.delete", changes_of(gone, {})
    await record(session, action, target=target, actor_id=by.user_id, changes=changes)


async def record_all(
    session: AsyncSession,
    action: str,
    *,
    target_type: str,
    changes: Mapping[UUID, Mapping[str, Any]],
) -> None:
    """`record` for many targets of one type, by their ids, in one statement."""
    found = client_info()
    values = {
        "id": [uuid7() for _ in changes],
        "target_id": [str(target_id) for target_id in changes],
        "changes": [json.dumps(_silenced(each)) if each else None for each in changes.values()],
        "occurred_at": utc_now(),
        "actor_id": found.user_id,
        "action": action,
        "target_type": target_type,
        "ip": found.ip,
        "user_agent": found.user_agent,
        "request_id": found.request_id,
    }
    await session.exec(_INSERT_MANY, params=values)


def _silenced(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: CHANGED if _SECRET.search(name) else value for name, value in changes.items()}


def changes_of(
    before: Mapping[str, Any], after: Mapping[str, Any], *, hidden: Collection[str] = ()
) -> dict[str, Any]:
    """Return the `changes` of `record`: `{member: {"old": ..., "new": ...}}` where they differ.

    A member that one of them lacks counts as null there. Of those in `hidden`, of secrets by
    their name, and of long texts it tells only that they changed. Empty when nothing did.
    """
    changes: dict[str, Any] = {}
    for name in before.keys() | after.keys():
        old, new = _plain(before.get(name)), _plain(after.get(name))
        if old == new:
            continue
        silent = name in hidden or _SECRET.search(name) or _is_long(old) or _is_long(new)
        changes[name] = CHANGED if silent else {"old": old, "new": new}
    return dict(sorted(changes.items()))


def _plain(value: Any) -> Any:
    """Return the value in a form for JSON."""
    match value:
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case UUID():
            return str(value)
        case set() | frozenset():
            return sorted(map(_plain, value))
        case list() | tuple():
            return [_plain(each) for each in value]
        case _:
            return value


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > _MAX_TEXT


async def list_events(reader: QueryRunner, by: Caller, query: ListQuery) -> Page[AuditEventOut]:
    by.must("audit:read")
    return await read_page(reader, queries.EVENTS, query)


async def export_events(context: Context, reader: QueryRunner, by: Principal) -> ExportPages:
    """Yield what the principal did, then what others did to their account.

    Events lack the data of other people: who acted and from where, unless it was the principal, and
    the changes of anything but the principal's account.
    """
    query = export_query(context)
    async for rows in read_all(reader, queries.EVENTS, query, by=by.user_id):
        yield [_own_event(row, by) for row in rows]
    async for rows in read_all(reader, queries.EVENTS, query, about=str(by.user_id)):
        yield [_own_event(row, by) for row in rows if row["actor_id"] != by.user_id]


def _own_event(row: Row, by: Principal) -> AuditEventOut:
    if row["actor_id"] != by.user_id:
        row = {**row, "actor_id": None, "ip": None, "user_agent": None, "request_id": None}
    if (row["target_type"], row["target_id"]) != ("user", str(by.user_id)):
        row = {**row, "changes": None}
    return AuditEventOut.from_row(row)


async def keep_events(_context: Context, _session: AsyncSession, _user_id: UUID) -> None:
    """Keep the events of a deleted account, which contain its bare id, until retention ends."""


async def verify(
    context: Context,
    by: Caller,
    *,
    progress: Progress = lambda done, total: None,
    anchor: Anchor | None = None,
) -> VerificationResult:
    """Hold all events against their seals; `anchor` is a seal known from the log.

    All statements see one snapshot of the database and block no other transaction.
    """
    by.must("audit:read")
    async with context.database.without_timeouts() as session:
        await (await session.connection()).execute(text(_SNAPSHOT))
        return await examine(session, signing_keys(context), progress, anchor)
