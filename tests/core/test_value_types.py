"""Dates, times, URLs and decimal numbers in bodies: what is accepted, and how it is written."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from backend.core.schemas import Schema
from backend.core.value_types import Day, Exact, Moment, WebUrl
from backend.db.lists.cursors import decode_cursor, encode_cursor
from backend.modules.audit.service import changes_of

Price = Annotated[Decimal, Exact(6, 2)]
# More digits than Python's default context has.
Long = Annotated[Decimal, Exact(30, 10)]
KEY = b"a key for tests"


class Offer(Schema):
    price: Price
    rate: Annotated[Decimal, Exact(10, 8)]
    count: Annotated[Decimal, Exact(3, 0)]


@pytest.mark.parametrize(("digits", "places"), [(1, 0), (2, 1), (3, 2), (5, 4), (12, 2), (30, 0)])
def test_the_example_of_a_decimal_is_valid(digits: int, places: int) -> None:
    adapter = TypeAdapter[Decimal](Annotated[Decimal, Exact(digits, places)])
    (example,) = adapter.json_schema()["examples"]
    assert str(adapter.validate_python(example)) == example


@pytest.mark.parametrize(
    ("kind", "sent", "found"),
    [
        (Day, "2026-02-28", date(2026, 2, 28)),
        (Moment, "2026-01-01T13:00:00+01:00", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        (Moment, "2026-01-01t12:00:00.5z", datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)),
        (WebUrl, " https://example.com/a?b=c#d ", "https://example.com/a?b=c#d"),
        (WebUrl, "http://[::1]:8000", "http://[::1]:8000"),
        (Price, "9999.99", Decimal("9999.99")),
        (Price, "-0.5", Decimal("-0.50")),
        (Price, "12", Decimal("12.00")),
        (Long, f"{'9' * 20}.1", Decimal(f"{'9' * 20}.1000000000")),
        (Long, f"-{'9' * 20}.{'9' * 10}", Decimal(f"-{'9' * 20}.{'9' * 10}")),
    ],
)
def test_values_are_accepted(kind: Any, sent: Any, found: Any) -> None:
    value = TypeAdapter(kind).validate_python(sent)
    assert (value, str(value)) == (found, str(found))


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        *((Day, sent) for sent in (0, 86400, "2026-02-29", "2026-01-01T00:00:00", "", "1", None)),
        *((Moment, sent) for sent in (0, "2026-01-01T12:00:00", "2026-01-01", "T12:00Z", None)),
        *((Moment, f"2026-01-01T12:{rest}") for rest in ("00Z", "00:00,5Z", "00:00+0100")),
        *((Moment, f"2026-01-01{rest}") for rest in (" 12:00:00Z", "T24:00:00Z", "T12:00:00Z ")),
        *((Moment, f"{edge}:00") for edge in ("0001-01-01T00:00:00+14", "9999-12-31T23:59:59-14")),
        *((WebUrl, sent) for sent in ("example.com", "javascript:alert(1)", "https://", 5)),
        *((WebUrl, sent) for sent in ("https://a b", "http://[", "http://a:99999", "ftp://a")),
        *((Price, sent) for sent in (1, 1.5, "1.505", "10000", "01", "1e3", "NaN", "+1", ".5")),
        *(
            (Price, sent)
            for sent in ("1.", "", " 1", "\N{ARABIC-INDIC DIGIT ONE}", "1_0", None, True)
        ),
    ],
)
def test_other_values_are_refused(kind: Any, sent: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(sent)


def test_a_decimal_number_has_all_its_places() -> None:
    offer = Offer.model_validate({"price": "-0", "rate": "0", "count": "7"})
    assert offer.model_dump_json() == '{"price":"0.00","rate":"0.00000000","count":"7"}'
    stored = Offer.from_row(
        {"price": Decimal("0.00"), "rate": Decimal("0E-8"), "count": Decimal(7)}
    )
    assert stored.model_dump_json() == offer.model_dump_json()


def test_openapi_has_its_pattern() -> None:
    properties = Offer.model_json_schema(mode="serialization")["properties"]
    assert properties == Offer.model_json_schema()["properties"]
    assert properties["price"] == {
        "type": "string",
        "title": "Price",
        "pattern": r"^-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,2})?$",
        "examples": ["12.50"],
    }
    assert properties["count"]["examples"] == ["12"]


def test_a_cursor_holds_them() -> None:
    row = [date(2026, 1, 31), Decimal("12.50"), None, uuid4()]
    cursor = encode_cursor(row, scope=b"", key=KEY)
    types = [type(value) for value in row]
    assert decode_cursor(cursor, types, scope=b"", key=KEY) == row


def test_audit_events_hold_them() -> None:
    changes = changes_of(
        {"day": date(2026, 1, 31), "price": Decimal("0E-8")}, {"day": None, "price": Decimal(2)}
    )
    assert changes == {
        "day": {"old": "2026-01-31", "new": None},
        "price": {"old": "0.00000000", "new": "2"},
    }
