"""What crosses the boundary is built from these."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Self
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
    """A request or response body. Refuses unknown members and reads JSON types as they are.

    pydantic would take `"5"` for 5 and `"yes"` for true. Its own strict mode, in turn, refuses
    the texts in which JSON carries UUIDs and times; so only the four plain types are strict.
    """

    # In an answer a member with a default is always there; generated clients should know.
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
            # Answers may grow members; a client that was generated before must not mind.
            handler.resolve_ref_schema(described).pop("additionalProperties", None)
        return described

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Self:
        """An answer straight from a database row, which needs no second validation."""
        # `model_fields` is a descriptor that costs as much as all the rest.
        made, fields = cls.__new__(cls), cls.__pydantic_fields__
        object.__setattr__(made, "__dict__", {name: row[name] for name in fields})
        object.__setattr__(made, "__pydantic_fields_set__", fields.keys())
        object.__setattr__(made, "__pydantic_extra__", None)
        object.__setattr__(made, "__pydantic_private__", None)
        return made


@dataclass(frozen=True)
class Trimmed:
    """A text field: trimmed, then `min_length` to `max_length` characters.

    Unless it may be empty, one of them must be visible.
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


# Nothing to see: white space and signs of format, and of what is printable by its category joiners,
# fillers and variation selectors. Unassigned characters are not listed: they are too many ranges.
_UNSEEN = (
    r"\s\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
_PERHAPS_SEEN = re.compile(f"[^{_UNSEEN}]")
_UNSEEN_RUN = re.compile(f"[{_UNSEEN}]+")


def _is_visible(text: str) -> bool:
    """Whether it holds a character that can be seen. Nothing is called once per character."""
    first = _PERHAPS_SEEN.search(text)
    if first is None or first[0].isprintable():
        return first is not None
    return any(map(str.isprintable, _UNSEEN_RUN.sub("", text)))


def _visible(text: str) -> str:
    if not _is_visible(text):
        raise PydanticCustomError("text_blank", "Must contain something visible.")
    return text


def _zulu(moment: datetime) -> str:
    # pydantic's own form leaves out a fraction of zero.
    text = moment.isoformat(timespec="microseconds")
    return text[:-6] + "Z" if text.endswith("+00:00") else _zulu(moment.astimezone(UTC))


Timestamp = Annotated[
    datetime,
    PlainSerializer(_zulu, return_type=str, when_used="json"),
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
    # pydantic would also take a URN, braces and no dashes.
    if isinstance(value, str) and not is_uuid(value):
        raise PydanticCustomError("uuid_parsing", "Must be a UUID.")
    return value


_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
Id = Annotated[UUID, BeforeValidator(_dashed)]
"""An id in a path or query: 8-4-4-4-12 hexadecimal digits in either case."""


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None
