"""What crosses the boundary is built from these."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticCustomError

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
    def from_row(cls, row: dict[str, Any]) -> Self:
        """An answer straight from a database row, which needs no second validation."""
        made = cls.__new__(cls)
        object.__setattr__(made, "__dict__", {name: row[name] for name in cls.model_fields})
        object.__setattr__(made, "__pydantic_fields_set__", cls.model_fields.keys())
        object.__setattr__(made, "__pydantic_extra__", None)
        object.__setattr__(made, "__pydantic_private__", None)
        return made


def _visible(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("text_nul", "Must not contain NUL.")
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise PydanticCustomError("text_blank", "Must contain something visible.")
    return text


Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_visible)
]
"""Trimmed, with something visible left. Say the maximum with `Field(max_length=...)`."""


def _zulu(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


Timestamp = Annotated[
    datetime,
    PlainSerializer(_zulu, return_type=str, when_used="json"),
    Field(description="RFC 3339 in UTC.", examples=["2026-01-01T12:00:00.000000Z"]),
]


def _email(value: str) -> str:
    try:
        # Reserved names such as .test are fine: nothing is delivered while validating.
        checked = validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise PydanticCustomError("email", "Must be a valid e-mail address.") from None
    return checked.normalized


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254),
    AfterValidator(_email),
    Field(examples=["ada@example.com"], json_schema_extra={"format": "email"}),
]
