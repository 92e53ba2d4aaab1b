"""Events: a module publishes what it has changed; dependent modules react in its transaction.

An event is a frozen dataclass in the `events.py` of the module that publishes it:

    @dataclass(frozen=True)
    class PasswordChanged(Event):
        user_id: UUID

A module that declares the publisher in `depends_on` subscribes in its manifest, and mypy compares
the handler with the class:

    async def end_sessions(context: Context, session: AsyncSession, event: PasswordChanged) -> None

    module = Module(..., subscribers=(on(PasswordChanged, end_sessions),))

`publish` awaits the handlers one after the other, in the order of the modules. An exception in a
handler propagates, so the transaction rolls back with all that publisher and handlers wrote.
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
    """An event class and a handler for it. Created by `on`."""

    event: type[Event]
    handler: Callable[..., Awaitable[None]]


def on(event: type[E], handler: Handler[E]) -> Subscriber:
    """Subscribe `handler` to the events of this class."""
    return Subscriber(event, handler)


def handlers_by_event(subscribers: Iterable[Subscriber]) -> dict[type[Any], tuple[Any, ...]]:
    """Return the handlers of each event class, in the order of `subscribers`."""
    handlers: dict[type[Any], tuple[Any, ...]] = {}
    for subscriber in subscribers:
        event = subscriber.event
        handlers[event] = (*handlers.get(event, ()), subscriber.handler)
    return handlers


async def publish(context: Context, session: AsyncSession, event: Event) -> None:
    """Call the event's handlers in the transaction of `session`; their exceptions propagate."""
    for handle in context.subscribers.get(type(event), ()):
        await handle(context, session, event)


def publisher_of(event: type[Event]) -> str | None:
    """Return the module whose `events.py` defines this event, or None if it is elsewhere."""
    *_, module, file = ("", *event.__module__.split("."))
    return module if file == "events" else None
