"""Events: a module publishes what it has changed; dependent modules react to it.

An event is a frozen dataclass in the `events.py` of the module that publishes it:

    @dataclass(frozen=True)
    class PasswordChanged(Event):
        user_id: UUID

A module that declares the publisher in `depends_on` subscribes in its manifest, and mypy compares
the handler with the class:

    async def end_sessions(context: Context, session: AsyncSession, event: PasswordChanged) -> None
    async def mail_notice(context: Context, event: PasswordChanged, event_id: UUID) -> None

    module = Module(
        ...,
        subscribers=(
            on(PasswordChanged, end_sessions),
            durable(PasswordChanged, mail_notice, name="notices.password"),
        ),
    )

`publish` awaits the handlers of `on` one after the other, in the order of the modules. An exception
in a handler propagates, so the transaction rolls back with all that publisher and handlers wrote.
It stores a job for each `durable` subscriber in the same transaction; see `docs/events.md`.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.stored_events import DurableSubscriber, store_event


class Event:
    """Base class of all events."""


E = TypeVar("E", bound=Event)
Handler = Callable[[Context, AsyncSession, E], Awaitable[None]]
DurableHandler = Callable[[Context, E, UUID], Awaitable[None]]


@dataclass(frozen=True)
class Subscriber:
    """An event class and a handler for it. Created by `on`."""

    event: type[Event]
    handler: Callable[..., Awaitable[None]]


def on(event: type[E], handler: Handler[E]) -> Subscriber:
    """Subscribe `handler` to the events of this class, in the transaction that publishes them."""
    return Subscriber(event, handler)


def durable(
    event: type[E],
    handler: DurableHandler[E],
    *,
    name: str,
    ordered_by: str | None = None,
    attempts: int = 10,
    timeout: float = 60,
) -> DurableSubscriber:
    """Subscribe `handler` to the events of this class, after the commit, by a job.

    It is called at least once with each event and its id, which is the same in each attempt and for
    each subscriber; its effect must be the same if it is called again. `name`, `attempts` and
    `timeout` are those of the job. Events with the same value of the field `ordered_by` are
    delivered one after the other, in the order of their commits, until one has failed for good.
    """
    return DurableSubscriber(event, handler, name, ordered_by, attempts, timeout)


def handlers_by_event(
    subscribers: Iterable[Subscriber | DurableSubscriber],
) -> dict[type[Any], tuple[Any, ...]]:
    """Return the handlers of each event class, in the order of `subscribers`."""
    handlers: dict[type[Any], tuple[Any, ...]] = {}
    for subscriber in subscribers:
        if isinstance(subscriber, Subscriber):
            event = subscriber.event
            handlers[event] = (*handlers.get(event, ()), subscriber.handler)
    return handlers


def durable_by_event(
    subscribers: Iterable[Subscriber | DurableSubscriber],
) -> dict[type[Any], tuple[DurableSubscriber, ...]]:
    """Return the durable subscribers of each event class, in the order of `subscribers`."""
    found: dict[type[Any], tuple[DurableSubscriber, ...]] = {}
    for subscriber in subscribers:
        if isinstance(subscriber, DurableSubscriber):
            found[subscriber.event] = (*found.get(subscriber.event, ()), subscriber)
    return found


async def publish(context: Context, session: AsyncSession, event: Event) -> None:
    """Call the event's handlers in the transaction of `session`; their exceptions propagate.

    Then store its deliveries to durable subscribers in that transaction. Publish after the change:
    the rows of the change are then locked before the order of the event.
    """
    for handle in context.subscribers.get(type(event), ()):
        await handle(context, session, event)
    if durable_subscribers := context.durable_subscribers.get(type(event)):
        await store_event(session, event, durable_subscribers)


def publisher_of(event: type[Event]) -> str | None:
    """Return the module whose `events.py` defines this event, or None if it is elsewhere."""
    *_, module, file = ("", *event.__module__.split("."))
    return module if file == "events" else None
