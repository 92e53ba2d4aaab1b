"""Differences between two schemas in words."""

import re
from collections.abc import Iterator, Sequence

from backend.db.schema.catalogs import Attributes, Key

# status = ANY (ARRAY['a'::character varying, 'b'::character varying]::text[]), as IN is stored.
_ONE_OF = re.compile(r"CHECK \(\(?\"?(\w+)\"?(?:::[\w ]+)?\)? = ANY \(\(?ARRAY\[(.+)\][^']*")
_LITERAL = re.compile(r"'((?:[^']|'')*)'")


def sentences(
    key: Key,
    found: Attributes | None,
    wanted: Attributes | None,
    changed: Sequence[str],
    place: str,
) -> Iterator[str]:
    """A sentence for each difference of one object; see `Difference`."""
    subject, thing = _names(key)
    if found is None or wanted is None:
        present, missing = ("the models", place) if found is None else (place, "the models")
        yield f"{subject}: {thing} exists in {present}, but not in {missing}."
        return
    for attribute in changed:
        there, here = found.get(attribute), wanted.get(attribute)
        if attribute == "members":
            yield _allowed(subject, thing, _literals(there), _literals(here), place)
        elif key.kind == "CHECK constraint" and (lists := _one_of(there, here)):
            column, allowed, models_allow = lists
            yield _allowed(f"{key.owner}.{column}", thing, allowed, models_allow, place)
        else:
            what = thing if attribute in ("definition", "nullability") else f"the {attribute}"
            if key.owner and what != thing and key.kind != "column":
                what += f" of {thing}"
            values = f"{_line(there)} in {place} and {_line(here)} in the models"
            yield f"{subject}: {what} is {values}."


def _names(key: Key) -> tuple[str, str]:
    """The subject of a sentence: an object and its name."""
    if key.kind == "column":
        return f"{key.owner}.{key.name}", "the column"
    if key.owner:
        return key.owner, f"the {key.kind} {key.name}"
    return key.name, f"the {key.kind}"


def _line(word: str | None) -> str:
    return "absent" if word is None else " ".join(word.split())


def _allowed(
    subject: str, thing: str, found: Sequence[str], wanted: Sequence[str], place: str
) -> str:
    begin = f"{subject}: {thing} allows {', '.join(found)} in {place}"
    more = [member for member in wanted if member not in found]
    fewer = [member for member in found if member not in wanted]
    if more or fewer:
        described = [f"also allow {', '.join(more)}"] if more else []
        described += [f"do not allow {', '.join(fewer)}"] if fewer else []
        return f"{begin}; the models {' and '.join(described)}."
    return f"{begin}; the models order them {', '.join(wanted)}."


def _literals(word: str | None) -> list[str]:
    return [each.replace("''", "'") for each in _LITERAL.findall(word or "")]


def _one_of(there: str | None, here: str | None) -> tuple[str, list[str], list[str]] | None:
    """The column and the values that two CHECK constraints allow, if that is all they say."""
    found, wanted = _ONE_OF.fullmatch(there or ""), _ONE_OF.fullmatch(here or "")
    if not found or not wanted or found[1] != wanted[1]:
        return None
    lists = _literals(found[2]), _literals(wanted[2])
    return None if set(lists[0]) == set(lists[1]) else (found[1], *lists)
