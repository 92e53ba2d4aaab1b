"""Types of members of request and response bodies, beside those of `core.schemas`.

JSON has neither dates nor exact decimal numbers; strings represent them. pydantic also accepts
numbers for them, and times for dates, which the contract does not.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from backend.core.schemas import Trimmed

MAX_URL = 2000  # characters
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# pydantic also accepts forms of ISO 8601 that RFC 3339 lacks, such as times without seconds.
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def _day(value: Any) -> Any:
    if not isinstance(value, date) and not (isinstance(value, str) and _DAY.fullmatch(value)):
        raise PydanticCustomError("date_parsing", "Must be a date such as 2026-01-31.")
    return value


def _moment(value: Any) -> Any:
    if not isinstance(value, datetime) and not (
        isinstance(value, str) and _MOMENT.fullmatch(value)
    ):
        message = "Must be a time with a zone such as 2026-01-31T12:00:00Z (RFC 3339)."
        raise PydanticCustomError("datetime_parsing", message)
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_range", "Must be in the years 1 to 9999.") from None


def _web_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", value):
        raise PydanticCustomError("url", "Must be a URL that begins with http:// or https://.")
    return value


Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
"""An integer that a column of PostgreSQL's type `integer` can hold."""
Day = Annotated[date, BeforeValidator(_day), Field(examples=["2026-01-31"])]
"""A date, without a time and a zone."""
ZonedTime = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""A time with a zone, to compare with; in UTC, it may be outside of the years 1 to 9999."""
Moment = Annotated[ZonedTime, AfterValidator(_in_utc)]
"""A time with a zone, converted to UTC. Responses have `core.schemas.Timestamp`."""
WebUrl = Annotated[
    str,
    Trimmed(MAX_URL),
    AfterValidator(_web_url),
    Field(examples=["https://example.com/"], json_schema_extra={"format": "uri"}),
]


@dataclass(frozen=True)
class Exact:
    """A decimal number as a string: `digits` in all, `places` of them behind the point.

    Fewer places are filled with zeros, so that "1.5" and "1.50" are one value with one entity tag.
    """

    digits: int
    places: int

    def __post_init__(self) -> None:
        if not 0 <= self.places < self.digits:
            raise ValueError("places must be fewer than digits")

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        context = Context(prec=self.digits)

        def parse(value: object) -> Decimal:
            if not isinstance(value, str) or not re.fullmatch(self._pattern, value):
                message = "Must be a string with a number such as {example}."
                raise PydanticCustomError("decimal", message, {"example": self._example})
            # The default context has 28 digits.
            number = Decimal(value).quantize(Decimal(1).scaleb(-self.places), context=context)
            # PostgreSQL has no negative zero.
            return number or abs(number)

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, Decimal) else parse(value),
            # `str` writes 0.00000000 as 0E-8.
            serialization=core_schema.plain_serializer_function_ser_schema(
                "{:f}".format, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{self._pattern}$", "examples": [self._example]}

    @property
    def _pattern(self) -> str:
        fraction = rf"(\.[0-9]{{1,{self.places}}})?" if self.places else ""
        return rf"-?(0|[1-9][0-9]{{0,{self.digits - self.places - 1}}}){fraction}"

    @property
    def _example(self) -> str:
        whole = "12"[: self.digits - self.places]
        return f"{whole}.{'50'.ljust(self.places, '0')[: self.places]}".rstrip(".")
