"""Compare two JSON Schemas of the HTTP contract: the released one and the present one.

Requests: each value that the released schema accepts must be accepted. Responses: each value that
the present schema allows must have been described by the released one; objects may gain members,
because clients ignore members that they do not know. Members that the released schema marks as
deprecated may be removed.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

Schema = Mapping[str, Any]
Document = Mapping[str, Any]
# The limits of a schema: the present one may be equal or on this side of the released one.
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_REFUSED = {"allOf", "else", "if", "not", "then"}
# Keywords of a schema with alternatives that are not those of each alternative.
_COMBINED = {"anyOf", "oneOf", "default", "deprecated", "description", "discriminator", "title"}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


@dataclass(frozen=True)
class Change:
    """A breaking change: what changed, as the end of a sentence, and what to do about it."""

    what: str
    remedy: str


@dataclass(frozen=True)
class _Pair:
    """A released and a present schema at one place, such as `body.title`."""

    released_in: Document
    present_in: Document
    released: Schema
    present: Schema
    of_request: bool
    where: str
    # Pairs of references that are being compared, because schemas may contain themselves.
    open: frozenset[tuple[str, str]] = frozenset()

    def at(self, part: str, released: Schema, present: Schema) -> "_Pair":
        return replace(self, where=f"{self.where}{part}", released=released, present=present)

    @property
    def subject(self) -> str:
        message = "request" if self.of_request else "response"
        return f"`{self.where}` of the {message}" if self.where else f"the {message}"


def changes(
    released_in: Document,
    present_in: Document,
    released: Schema,
    present: Schema,
    *,
    of_request: bool,
    where: str,
) -> Iterator[Change]:
    """Yield the breaking changes of a schema; `where` names the value, such as `body`."""
    yield from _compare(_Pair(released_in, present_in, released, present, of_request, where))


def resolve(document: Document, schema: Any) -> Schema:
    """Follow the references of a schema, a parameter or a response."""
    while isinstance(schema, Mapping) and "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema if isinstance(schema, Mapping) else {}


def _compare(pair: _Pair) -> Iterator[Change]:
    references = (str(pair.released.get("$ref")), str(pair.present.get("$ref")))
    if references in pair.open:
        return
    if references != ("None", "None"):
        pair = replace(pair, open=pair.open | {references})
    released = list(_forms(pair.released_in, pair.released))
    present = list(_forms(pair.present_in, pair.present))
    # Each form of the one side must be covered by a form of the other side.
    covered, covering = (released, present) if pair.of_request else (present, released)
    for form in covered:
        candidates = [each for each in covering if _same_kind(form, each)]
        pairs = [
            replace(pair, released=form, present=each)
            if pair.of_request
            else replace(pair, released=each, present=form)
            for each in candidates
        ]
        found = [list(_compare_forms(each)) for each in pairs]
        if not found:
            yield _type_change(pair, _kind(form))
        elif all(found):
            yield from min(found, key=len)


def _forms(document: Document, schema: Schema) -> Iterator[Schema]:
    """Yield the alternatives of a schema: parts of `anyOf`, and each of several types."""
    schema = resolve(document, schema)
    if refused := _REFUSED & schema.keys():
        sys.exit(
            f"A schema of openapi.json has `{min(refused)}`, which the contract gate cannot "
            "compare. Describe the value without it."
        )
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        # Keywords beside the alternatives apply to each of them.
        others = {name: schema[name] for name in schema if name not in _COMBINED}
        for option in options:
            yield from ({**others, **form} for form in _forms(document, option))
    elif isinstance(schema.get("type"), list):
        for kind in schema["type"]:
            yield {**schema, "type": kind}
    else:
        yield schema


def _kind(schema: Schema) -> str | None:
    """Return the type of a form; None stands for any value."""
    values = _values(schema)
    if "type" in schema:
        return str(schema["type"])
    return _TYPES.get(type(values[0])) if values else None


def _same_kind(covered: Schema, covering: Schema) -> bool:
    one, other = _kind(covered), _kind(covering)
    return other is None or one == other or (one, other) == ("integer", "number")


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _type_change(pair: _Pair, kind: str | None) -> Change:
    shown = kind or "any type"
    if pair.of_request:
        return Change(f"{pair.subject} no longer accepts {shown}", f"accept {shown} again")
    return Change(f"{pair.subject} can now be {shown}", "send the released type")


def _compare_forms(pair: _Pair) -> Iterator[Change]:
    yield from _compare_values(pair)
    if pair.of_request:
        yield from _compare_limits(pair)
    yield from _compare_formats(pair)
    yield from _compare_members(pair)
    released, present = pair.released.get("items"), pair.present.get("items")
    if isinstance(released, Mapping) and isinstance(present, Mapping):
        yield from _compare(pair.at("[]", released, present))


def _compare_formats(pair: _Pair) -> Iterator[Change]:
    released, present = pair.released.get("format"), pair.present.get("format")
    expected = present if pair.of_request else released
    if released != present and expected is not None:
        what = f"has the format {present or 'none'} instead of {released or 'none'}"
        yield Change(f"{pair.subject} {what}", "keep the released format")


def _compare_values(pair: _Pair) -> Iterator[Change]:
    released, present = _values(pair.released), _values(pair.present)
    covered, covering = (released, present) if pair.of_request else (present, released)
    if covering is None:
        return
    shown = ", ".join(f"`{each}`" for each in covering)
    if covered is None:
        what = "accepts only" if pair.of_request else "can be other than"
        yield Change(f"{pair.subject} now {what} {shown}", "keep the released values")
    elif others := [f"`{each}`" for each in covered if each not in covering]:
        values = ", ".join(others)
        if pair.of_request:
            yield Change(f"{pair.subject} no longer accepts {values}", "accept the value again")
        else:
            yield Change(f"{pair.subject} can now be {values}", "send released values only")


def _compare_limits(pair: _Pair) -> Iterator[Change]:
    for name in (*_UPPER, *_LOWER):
        released, present = pair.released.get(name), pair.present.get(name)
        if present is None:
            continue
        if released is None or (present < released if name in _UPPER else present > released):
            before = "none" if released is None else released
            yield Change(
                f"{pair.subject} has the {name} {present} instead of {before}",
                "keep the released limit",
            )
    for name in ("pattern", "uniqueItems"):
        present = pair.present.get(name)
        if present and present != pair.released.get(name):
            yield Change(f"{pair.subject} has another {name}", f"keep the released {name}")


def _compare_members(pair: _Pair) -> Iterator[Change]:
    released, present = (each.get("properties", {}) for each in (pair.released, pair.present))
    was_required = set(pair.released.get("required", ()))
    is_required = set(pair.present.get("required", ()))
    for name, schema in released.items():
        member = pair.at(f".{name}" if pair.where else name, schema, present.get(name, {}))
        if name not in present:
            if resolve(pair.released_in, schema).get("deprecated") or schema.get("deprecated"):
                continue
            if pair.of_request:
                yield Change(f"{member.subject} is not accepted any more", "accept it again")
            else:
                yield Change(f"{member.subject} is gone", "keep the member")
            continue
        if pair.of_request and name in is_required - was_required:
            yield Change(f"{member.subject} is required now", "make it optional again")
        if pair.of_request:
            yield from _compare_defaults(member)
        if not pair.of_request and name in was_required - is_required:
            yield Change(f"{member.subject} can be absent now", "send it always")
        yield from _compare(member)
    if pair.of_request:
        for name in sorted(is_required - released.keys()):
            member = pair.at(f".{name}" if pair.where else name, {}, {})
            yield Change(f"{member.subject} is new and required", "make it optional")
    yield from _compare_other_members(pair)


def _compare_defaults(pair: _Pair) -> Iterator[Change]:
    """Yield the change of what a request without this member means."""
    released, present = pair.released.get("default"), pair.present.get("default")
    if released is not None and released != present:
        what = f"has the default {json.dumps(present)} instead of {json.dumps(released)}"
        yield Change(f"{pair.subject} {what}", "keep the released default")


def _compare_other_members(pair: _Pair) -> Iterator[Change]:
    released = pair.released.get("additionalProperties")
    present = pair.present.get("additionalProperties")
    if isinstance(released, Mapping) and isinstance(present, Mapping):
        yield from _compare(pair.at(".*", released, present))
    elif pair.of_request and "properties" in pair.released and released is not present is False:
        yield Change(f"{pair.subject} refuses further members now", "accept them again")
