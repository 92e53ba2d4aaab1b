"""Sentences that describe the differences between a schema and the models."""

import re
from collections.abc import Iterator, Sequence

from backend.db.schema.catalogs import Attributes, Key

# PostgreSQL stores `status IN ('a', 'b')` as
# status = ANY (ARRAY['a'::character varying, 'b'::character varying]::text[]).
_ONE_OF = re.compile(r"CHECK \(\(?\"?(\w+)\"?(?:::[\w ]+)?\)? = ANY \(\(?ARRAY\[(.+)\][^']*")
_LITERAL = re.compile(r"'((?:[^']|'')*)'")


def sentences(
    key: Key,
    actual: Attributes | None,
    declared: Attributes | None,
    changed: Sequence[str],
    place: str,
) -> Iterator[str]:
    """Yield a sentence for each difference of one object; see `Difference`."""
    subject, thing = _names(key)
    if actual is None or declared is None:
        present, missing = ("the models", place) if actual is None else (place, "the models")
        yield f"{subject}: {thing} exists in {present}, but not in {missing}."
        return
    for attribute in changed:
        actual_value, declared_value = actual.get(attribute), declared.get(attribute)
        if attribute == "members":
            yield _allowed(
                subject, thing, _literals(actual_value), _literals(declared_value), place
            )
        elif key.kind == "CHECK constraint" and (lists := _one_of(actual_value, declared_value)):
            column, allowed, models_allow = lists
            yield _allowed(f"{key.owner}.{column}", thing, allowed, models_allow, place)
        else:
            what = thing if attribute in ("definition", "nullability") else f"the {attribute}"
            if key.owner and what != thing and key.kind != "column":
                what += f" of {thing}"
            values = f"{_line(actual_value)} in {place} and {_line(declared_value)} in the models"
            yield f"{subject}: {what} is {values}."


def _names(key: Key) -> tuple[str, str]:
    """Return the subject of the sentence, and the object's kind and name."""
    if key.kind == "column":
        return f"{key.owner}.{key.name}", "the column"
    if key.owner:
        return key.owner, f"the {key.kind} {key.name}"
    return key.name, f"the {key.kind}"


def _line(word: str | None) -> str:
    return "absent" if word is None else " ".join(word.split())


def _allowed(
    subject: str, thing: str, actual: Sequence[str], declared: Sequence[str], place: str
) -> str:
    begin = f"{subject}: {thing} allows {', '.join(actual)} in {place}"
    more = [member for member in declared if member not in actual]
    fewer = [member for member in actual if member not in declared]
    if more or fewer:
        described = [f"also allow {', '.join(more)}"] if more else []
        described += [f"do not allow {', '.join(fewer)}"] if fewer else []
        return f"{begin}; the models {' and '.join(described)}."
    return f"{begin}; the models order them {', '.join(declared)}."


def _literals(word: str | None) -> list[str]:
    return [each.replace("''", "'") for each in _LITERAL.findall(word or "")]


def _one_of(
    actual_value: str | None, declared_value: str | None
) -> tuple[str, list[str], list[str]] | None:
    """Return the column and the two lists of allowed values, of two `column IN (...)` checks.

    None if either CHECK constraint has another form, or both allow the same values.
    """
    actual, declared = (
        _ONE_OF.fullmatch(actual_value or ""),
        _ONE_OF.fullmatch(declared_value or ""),
    )
    if not actual or not declared or actual[1] != declared[1]:
        return None
    lists = _literals(actual[2]), _literals(declared[2])
    return None if set(lists[0]) == set(lists[1]) else (actual[1], *lists)
