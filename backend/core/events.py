"""Events: what one module does, told to those that build upon it, in the same transaction.

An event is a frozen dataclass in the `events.py` of the module that publishes it:

    @dataclass(frozen=True)
    class PasswordChanged(Event):
        user_id: UUID

A module that declares the publisher in `depends_on` subscribes in its manifest, and mypy compares
the handler with the class:

    async def end_sessions(context: Context, session: AsyncSession, event: PasswordChanged) -> None

    module = Module(..., subscribers=(on(PasswordChanged, end_sessions),))

`publish` awaits the handlers one after the other, in the order of the modules. An exception of a
handler propagates, so the publisher's transaction rolls back with all that they wrote.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context


class Event:
    """Base class of all events."""


E = TypeVar("E", bound=Event)
Handler = Callable[[Context, AsyncSession, E], Awaitable[None]]


@dataclass(frozen=True)
class Subscriber:
    """A handler and the event that it is called for. Made by `on`."""

    event: type[Event]
    handler: Callable[..., Awaitable[None]]


def on(event: type[E], handler: Handler[E]) -> Subscriber:
    """Have `handler` called whenever an event of this class is published."""
    return Subscriber(event, handler)


def handlers_by_event(subscribers: Iterable[Subscriber]) -> dict[type[Any], tuple[Any, ...]]:
    """The handlers of each event, in the order of `subscribers`."""
    found: dict[type[Any], tuple[Any, ...]] = {}
    for each in subscribers:
        found[each.event] = (*found.get(each.event, ()), each.handler)
    return found


async def publish(context: Context, session: AsyncSession, event: Event) -> None:
    """Call the event's handlers in the transaction of `session`; what they raise propagates."""
    for handle in context.subscribers.get(type(event), ()):
        await handle(context, session, event)


def publisher_of(event: type[Event]) -> str | None:
    """The module whose `events.py` defines this event; None if it is defined elsewhere."""
    *_, module, file = ("", *event.__module__.split("."))
    return module if file == "events" else None
