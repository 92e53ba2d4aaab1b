"""Base class and field types of request and response bodies."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Self, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from backend.addresses.email_addresses import normal_email

MAX_BULK = 1000  # resources in one request
T = TypeVar("T", bound=BaseModel)
# pydantic's models have these slots. `object.__setattr__` finds them by name, in thrice the time.
_set_members, _set_fields_set, _set_extra, _set_private = (
    vars(BaseModel)[slot].__set__
    for slot in (
        "__dict__",
        "__pydantic_fields_set__",
        "__pydantic_extra__",
        "__pydantic_private__",
    )
)
_STRICT_TYPES = {"bool", "float", "int", "str"}


def _make_strict(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("type") in _STRICT_TYPES:
            node.setdefault("strict", True)
        for child in node.values():
            _make_strict(child)
    elif isinstance(node, list | tuple):
        for child in node:
            _make_strict(child)


class Schema(BaseModel):
    """A request or response body. Unknown members and values of another JSON type are errors.

    pydantic accepts `"5"` as 5 and `"yes"` as true. Its strict mode rejects the strings in which
    JSON represents UUIDs and times; therefore only the four plain types are strict.
    """

    # Responses always contain members with a default; generated clients can rely on that.
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        _make_strict(schema)
        return schema

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described = handler(schema)
        if handler.mode == "serialization":
            # Later releases may add members to responses; older clients must accept them.
            handler.resolve_ref_schema(described).pop("additionalProperties", None)
        return described

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """Create a response body from a database row, without validation."""
        # `model_fields` is a descriptor that takes as long as the rest of this function.
        instance, fields = cls.__new__(cls), cls.__pydantic_fields__
        _set_members(instance, {name: row[name] for name in fields})
        _set_fields_set(instance, set(fields))
        _set_extra(instance, None)
        _set_private(instance, None)
        return instance


class Bulk(Schema, Generic[T]):
    """Resources that are created together, all of them or none; the response has their order."""

    data: list[T] = Field(min_length=1, max_length=MAX_BULK)


@dataclass(frozen=True)
class Trimmed:
    """A text field with `min_length` to `max_length` characters after trimming.

    Unless `min_length` is 0, at least one character must be visible.
    """

    max_length: int
    min_length: int = 1

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        text = core_schema.str_schema(
            strip_whitespace=True,
            min_length=self.min_length,
            max_length=self.max_length,
            strict=True,
        )
        if not self.min_length:
            return text
        return core_schema.no_info_after_validator_function(_visible, text)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described = handler(schema)
        # The visible characters depend on the version of Unicode; white space is what clients send.
        return {**described, "pattern": r"\S"} if self.min_length else described


# Invisible characters: white space, format characters, and those that Python considers printable:
# joiners, fillers and variation selectors. Unassigned characters (too many ranges) are left out.
_INVISIBLE = (
    r"\s\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
_MAYBE_VISIBLE = re.compile(f"[^{_INVISIBLE}]")
_INVISIBLE_RUN = re.compile(f"[{_INVISIBLE}]+")


def is_visible(text: str) -> bool:
    """Return whether a character is visible. The usual case needs no call per character."""
    first = _MAYBE_VISIBLE.search(text)
    if first is None or first[0].isprintable():
        return first is not None
    return any(map(str.isprintable, _INVISIBLE_RUN.sub("", text)))


def _visible(text: str) -> str:
    if not is_visible(text):
        raise PydanticCustomError("text_blank", "Must contain something visible.")
    return text


def zulu(moment: datetime) -> str:
    # pydantic omits a fraction of zero.
    text = moment.isoformat(timespec="microseconds")
    return text[:-6] + "Z" if text.endswith("+00:00") else zulu(moment.astimezone(UTC))


Timestamp = Annotated[
    datetime,
    PlainSerializer(zulu, return_type=str, when_used="json"),
    Field(
        description="RFC 3339 in UTC.",
        examples=["2026-01-01T12:00:00.000000Z"],
        json_schema_extra={"format": "date-time"},
    ),
]


def _email(value: str) -> str:
    try:
        return normal_email(value)
    except ValueError:
        raise PydanticCustomError("email", "Must be a valid e-mail address.") from None


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254),
    AfterValidator(_email),
    Field(examples=["ada@example.com"], json_schema_extra={"format": "idn-email"}),
]


def _dashed(value: Any) -> Any:
    # pydantic also accepts URNs, braces, and UUIDs without dashes.
    if isinstance(value, str) and not is_uuid(value):
        raise PydanticCustomError("uuid_parsing", "Must be a UUID.")
    return value


_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
Id = Annotated[UUID, BeforeValidator(_dashed)]
"""An id in a path or query: 8-4-4-4-12 hexadecimal digits in either case."""


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None
