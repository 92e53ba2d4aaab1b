"""Durable events as the queue stores them: one job for each subscriber.

Stored events are shown to administrators, wait for hours after failures, and are read by later
releases. They therefore contain ids, names, numbers and times; subscribers read the rest by the id.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import orjson
import structlog
from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.jobs import EVENTS, Job, JobError, Queued, store
from backend.db.base import uuid7

MAX_BYTES = 8192
_KEY = StringConstraints(pattern=r"^[A-Za-z0-9._:/-]{1,128}$")
Key = Annotated[str, _KEY]
"""The text of an identifier, such as a file's key. Addresses of mail and prose do not match it."""

_SCALARS = (UUID, bool, int, Decimal, date, datetime, NoneType)
# Jobs are delivered in the order of their ids, which a transaction takes before it commits. Without
# these locks, which last until then, the first of two transactions could commit last.
_LOCK = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(each, 0)) FROM unnest(CAST(:locks AS text[]))"
    " AS each"
)


class EventNotStorableError(Exception):
    """A published event cannot be stored, so its transaction must not commit."""


class StoredEventError(JobError):
    """A stored event does not fit the class of this release."""


@dataclass(frozen=True)
class DurableSubscriber:
    """A subscriber whose `job` delivers an event after the commit. Created by `events.durable`."""

    event: type[Any]
    handler: Callable[..., Awaitable[None]]
    name: str
    ordered_by: str | None = None
    attempts: int = 10
    timeout: float = 60

    @cached_property
    def job(self) -> Job:
        return Job(self.name, self._deliver, attempts=self.attempts, timeout=self.timeout)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.event)

    async def _deliver(
        self, context: Any, *, event_id: str, event: str, data: Mapping[str, Any]
    ) -> None:
        structlog.contextvars.bind_contextvars(event_id=event_id)
        await self.handler(context, self._loaded(event, data), UUID(event_id))

    def dumped(self, event: Any) -> dict[str, Any]:
        """Return the values of the event as JSON; raise `EventNotStorableError`."""
        name = event_name(self.event)
        try:
            data: dict[str, Any] = self._adapter.dump_python(event, mode="json", warnings="error")
            # Otherwise each delivery would fail, long after the mistake.
            self._adapter.validate_python(data)
        except ValidationError as error:
            raise EventNotStorableError(
                f"{name}: a value does not fit its field ({_problems(error)})."
            ) from None
        except PydanticSerializationError:
            # Its text quotes the value.
            raise EventNotStorableError(
                f"{name}: a value does not have the type of its field."
            ) from None
        if (size := len(orjson.dumps(data))) > MAX_BYTES:
            raise EventNotStorableError(
                f"{name} has {size} bytes, more than the {MAX_BYTES} that are stored: "
                "put ids into it, and let subscribers read the rest."
            )
        return data

    def _loaded(self, name: str, data: Mapping[str, Any]) -> Any:
        try:
            return self._adapter.validate_python(data)
        except ValidationError as error:
            raise StoredEventError(
                f"This release cannot read the stored {name} ({_problems(error)}). Give new fields "
                "a default, and renamed ones an alias; then retry the job."
            ) from None

    def lock_of(self, event: Any) -> str | None:
        """Return the name of the order that this event belongs to, if any."""
        value = None if self.ordered_by is None else getattr(event, self.ordered_by)
        return None if value is None else f"{self.name}:{value}"

    def problem(self) -> str | None:
        """Return why events of this class cannot be stored or ordered, as the rest of a sentence.

        The sentence begins with the name of the class.
        """
        if not is_dataclass(self.event):
            return "is no dataclass: add @dataclass(frozen=True)."
        hints = get_type_hints(self.event, include_extras=True)
        names = [field.name for field in fields(self.event)]
        for name in names:
            if not _is_storable(hints[name]):
                return (
                    f"has a field '{name}' of a type that is not stored: use UUID, Key, int, bool, "
                    "Decimal, date, datetime, Literal or an enum, or tuples of one of them."
                )
        if self.ordered_by not in (None, *names):
            return f"has no field '{self.ordered_by}', by which the subscriber orders it."
        return None


def _problems(error: ValidationError) -> str:
    """Return the fields and their problems, without the values."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
        for each in error.errors(include_input=False, include_context=False)
    )


def _is_storable(hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _KEY in arguments or _is_storable(arguments[0])
    if origin in (Union, UnionType):
        return all(map(_is_storable, arguments))
    if origin is tuple:
        return all(each is ... or _is_storable(each) for each in arguments)
    if origin is Literal:
        return True
    return hint in _SCALARS or (isinstance(hint, type) and issubclass(hint, Enum))


def event_name(event: type[Any]) -> str:
    """Return `module.Class`."""
    return f"{event.__module__.split('.')[-2]}.{event.__name__}"


async def store_event(
    session: AsyncSession, event: Any, subscribers: Sequence[DurableSubscriber]
) -> None:
    """Store one delivery of the event for each of its subscribers, in this transaction.

    Raise `EventNotStorableError` for values that do not fit their fields, and for large events.
    """
    arguments = {
        "event_id": str(uuid7()),
        "event": event_name(type(event)),
        "data": subscribers[0].dumped(event),
    }
    locks = {each.name: each.lock_of(event) for each in subscribers}
    if ordered := sorted(lock for lock in locks.values() if lock is not None):
        await (await session.connection()).execute(_LOCK, {"locks": ordered})
    await store(session, [Queued(name, arguments, lock) for name, lock in locks.items()], EVENTS)
