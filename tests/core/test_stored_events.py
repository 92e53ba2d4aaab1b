"""Durable events are stored as JSON that later releases can read, and contain no free text."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import AliasChoices, Field

from backend.core.context import Context
from backend.core.events import Event, durable, publish
from backend.core.module import Module
from backend.core.stored_events import MAX_BYTES, DurableSubscriber, EventNotStorableError, Key
from tests.applications import make_context


class Size(Enum):
    LARGE = "large"


@dataclass(frozen=True)
class Baked(Event):
    id: UUID
    key: Key
    count: int
    price: Decimal
    at: datetime
    day: date
    size: Size
    state: Literal["raw", "done"]
    by: UUID | None
    parts: tuple[UUID, ...]
    is_hot: bool = True
    oven: ClassVar[object] = object()


BAKED = Baked(
    uuid4(),
    "loaf:2026/1",
    2,
    Decimal("3.10"),
    datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    date(2026, 1, 2),
    Size.LARGE,
    "done",
    None,
    (uuid4(), uuid4()),
)


class Oven:
    """A durable subscriber in the process of the test."""

    def __init__(self, event: type[Event]) -> None:
        self.delivered: list[Event] = []
        self.subscriber = durable(event, self.handle, name="made.bake")

    async def handle(self, _: Context, event: Event, event_id: UUID) -> None:
        self.delivered.append(event)

    async def deliver(self, data: dict[str, Any]) -> Event:
        await self.subscriber.job.run(None, event_id=str(uuid4()), event="core.Any", data=data)
        return self.delivered[-1]


async def test_each_type_is_read_as_it_was_written() -> None:
    oven = Oven(Baked)
    assert oven.subscriber.problem() is None
    assert await oven.deliver(oven.subscriber.dumped(BAKED)) == BAKED


@dataclass(frozen=True)
class Renamed(Event):
    loaf_id: Annotated[int, Field(validation_alias=AliasChoices("loaf_id", "bread_id"))]
    shelf: int = 1


async def test_events_of_other_releases_are_read() -> None:
    oven = Oven(Renamed)
    assert oven.subscriber.problem() is None
    # A former release lacks the new field and has another name for the id.
    assert await oven.deliver({"bread_id": 5}) == Renamed(5)
    # A later one has another field.
    assert await oven.deliver({"loaf_id": 5, "shelf": 2, "colour": "brown"}) == Renamed(5, 2)
    assert oven.subscriber.dumped(Renamed(5)) == {"loaf_id": 5, "shelf": 1}


class Plain(Event):
    pass


def problem(hint: Any, ordered_by: str | None = None) -> str | None:
    kind: type[Event] = dataclass(frozen=True)(
        type("Made", (Event,), {"__annotations__": {"field": hint}})
    )
    return DurableSubscriber(kind, Oven(kind).handle, "made.bake", ordered_by).problem()


def test_what_cannot_be_stored_is_told() -> None:
    for hint in (str, str | None, bytes, float, object, Any, dict[str, int], tuple[str, ...]):
        found = problem(hint)
        assert found is not None, hint
        assert found.startswith("has a field 'field' of a type that is not stored: use UUID, Key")
    assert problem(UUID, "field") is None
    assert problem(UUID, "colour") == "has no field 'colour', by which the subscriber orders it."
    assert DurableSubscriber(Plain, Oven(Plain).handle, "made.bake").problem() == (
        "is no dataclass: add @dataclass(frozen=True)."
    )


@dataclass(frozen=True)
class Long(Event):
    ids: tuple[int, ...]
    key: Key = "none"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Long(tuple(range(5000))), f"more than the {MAX_BYTES} that are stored: put ids into it"),
        (
            Long((1,), "ada@example.com"),
            r"does not fit its field \(key: String should match",
        ),
        (Long((1,), "some prose"), "a value does not fit its field"),
        (Long(("one",)), "not have the type of its field"),  # type: ignore[arg-type]  # the test
    ],
    ids=["large", "address", "prose", "type"],
)
async def test_what_does_not_fit_fails_the_transaction_that_publishes_it(
    database_url: str, event: Long, reason: str
) -> None:
    module = Module(name="made", subscribers=(Oven(Long).subscriber,))
    context = make_context(database_url, (module,))

    async def bake() -> None:
        async with context.database.transaction() as session:
            await publish(context, session, event)

    with pytest.raises(EventNotStorableError, match=reason) as raised:
        await bake()
    await context.database.close()
    # The value may be personal, so the message lacks it.
    assert str(event.key) not in str(raised.value)
