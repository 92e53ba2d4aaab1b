"""The JSON of response bodies, with the bytes that pydantic writes.

Most bodies consist of plain members only, which orjson writes in a seventh of the time; half of
pydantic's time are calls of the function that writes a time with six digits. Which members a body
has is read once from pydantic's schema of it, and whatever is not known here is left to pydantic.
"""

from collections.abc import Callable, KeysView, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from pydantic import BaseModel

from backend.core.schemas import Schema, zulu

Json = Any
# Returns what orjson writes for a member as pydantic does.
Convert = Callable[[Any], Json]
Members = Sequence[tuple[str, Convert]]
# Values of these types are written alike. Numbers with fractions are not among them.
_PLAIN = {"str", "int", "bool", "uuid", "none"}
# Validation that leaves the type of the value to the inner schema.
_WRAPPERS = {"default", "function-after", "function-before"}
_FROM_ROW = vars(Schema)["from_row"].__func__
# A member with one of these is renamed or left out.
_CHANGES = ("serialization_alias", "serialization_exclude", "serialization_exclude_if")


class _OtherwiseError(Exception):
    """Only pydantic can write this value, or values of this schema."""


def json_of_rows(
    kind: type[BaseModel], rows: Sequence[Mapping[str, Any]], others: Mapping[str, Json]
) -> bytes | None:
    """Return the JSON of `data`, which are rows of one statement, and of other members.

    The bytes are those of schemas made of the rows. Return None if that takes such schemas.
    """
    checks = _checks_of(kind)
    if checks is None or (rows and [*rows[0]] != [*kind.__pydantic_fields__]):
        return None
    try:
        for name, check in checks:
            for row in rows:
                value = row[name]
                if check(value) is not value:
                    return None
        return orjson.dumps({"data": rows, **others}, option=orjson.OPT_UTC_Z)
    except (_OtherwiseError, orjson.JSONEncodeError):
        return None


def json_of(body: BaseModel) -> bytes:
    """Return the body as JSON; the values of its members are not validated."""
    convert = _conversion_of(type(body))
    if convert is not None:
        try:
            return orjson.dumps(convert(body), option=orjson.OPT_UTC_Z)
        except (_OtherwiseError, orjson.JSONEncodeError):
            pass
    return body.model_dump_json().encode()


@lru_cache(maxsize=1024)
def _conversion_of(kind: type[BaseModel]) -> Convert | None:
    try:
        return _conversion(*_schema_of(kind))
    except (_OtherwiseError, RecursionError):
        return None


@lru_cache(maxsize=1024)
def _checks_of(kind: type[BaseModel]) -> Members | None:
    """Return the members of a schema that are not always written as they are."""
    schema, definitions = _schema_of(kind)
    if schema["type"] != "model" or "serialization" in schema:
        return None
    # One of its own may change members.
    if getattr(getattr(kind, "from_row", None), "__func__", None) is not _FROM_ROW:
        return None
    try:
        return _conversions(schema, definitions)[1]
    except (_OtherwiseError, RecursionError):
        return None


def _schema_of(kind: type[BaseModel]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return pydantic's schema, and the definitions to which it refers."""
    schema: Any = kind.__pydantic_core_schema__
    definitions: dict[str, Any] = {}
    if schema["type"] == "definitions":
        definitions = {each["ref"]: each for each in schema["definitions"]}
        schema = schema["schema"]
    if schema["type"] == "definition-ref":
        schema = definitions[schema["schema_ref"]]
    return schema, definitions


def _conversion(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Convert | None:
    """Return a function for values of this schema; None if they are written as they are.

    Raise `_OtherwiseError` if only pydantic can write them.
    """
    kind = schema["type"]
    if kind == "definition-ref":
        referred = definitions[schema["schema_ref"]]
        if referred.get("cls") is BaseModel:
            # A type variable, as in `Page`: each value is written by its own schema.
            return _body
        if "serialization" not in schema:
            return _conversion(referred, definitions)
    if "serialization" in schema:
        return _written_by(schema["serialization"])
    if kind in _PLAIN:
        return None
    if kind == "literal" and all(type(each) is str for each in schema["expected"]):
        return None
    if kind in _WRAPPERS:
        return _conversion(schema["schema"], definitions)
    if kind == "nullable":
        return _optional(_conversion(schema["schema"], definitions))
    if kind == "list":
        return _each(_conversion(schema["items_schema"], definitions))
    if kind == "model":
        return _members(schema, definitions)
    raise _OtherwiseError


def _optional(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None
    return lambda value: None if value is None else convert(value)


def _each(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None
    return lambda values: [convert(each) for each in values]


def _written_by(serialization: Mapping[str, Any]) -> Convert:
    return _time if serialization.get("function") is zulu else _refuse


def _body(value: BaseModel) -> Json:
    convert = _conversion_of(type(value))
    if convert is None:
        raise _OtherwiseError
    return convert(value)


def _time(value: datetime) -> datetime:
    # orjson omits a fraction of zero, and writes other offsets than that of UTC.
    if not value.microsecond or value.tzinfo is not UTC:
        raise _OtherwiseError
    return value


def _refuse(_: Any) -> Json:
    """Leave any value to pydantic; a `nullable` around it may still be null."""
    raise _OtherwiseError


def _conversions(
    schema: Mapping[str, Any], definitions: Mapping[str, Any]
) -> tuple[KeysView[str], Members]:
    """Return the names of a model's members, and the conversions of those that have one."""
    inner = schema["schema"]
    if schema.get("root_model") or inner["type"] != "model-fields" or inner.get("computed_fields"):
        raise _OtherwiseError
    fields = inner["fields"]
    if any(change in field for field in fields.values() for change in _CHANGES):
        raise _OtherwiseError
    found = {name: _conversion(field["schema"], definitions) for name, field in fields.items()}
    conversions = [(name, convert) for name, convert in found.items() if convert is not None]
    return fields.keys(), conversions


def _members(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Convert:
    names, conversions = _conversions(schema, definitions)
    declared = schema["cls"]

    def convert(body: BaseModel) -> Json:
        # pydantic writes a subclass as the declared class, which leaves out further members.
        if type(body) is not declared:
            raise _OtherwiseError
        # In the order of the schema. There may be others, such as a cached property, or fewer.
        members = written = vars(body)
        if members.keys() != names:
            raise _OtherwiseError
        for name, convert_member in conversions:
            value = members[name]
            made = convert_member(value)
            if made is not value:
                written = dict(members) if written is members else written
                written[name] = made
        return written

    return convert
