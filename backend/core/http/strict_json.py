"""Strict parsing of JSON: ambiguous documents are errors."""

import json
import math
import re
from typing import Any, NoReturn

# Validation creates an error for each unknown member.
MAX_MEMBERS = 1000
# Many kinds of values take a call in Python each; bodies of bulk requests have some thousands.
MAX_VALUES = 50_000
# The pattern never backtracks, so it examines each character once.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


class JSONRefusedError(ValueError):
    """The reason why a body is not acceptable JSON, without any part of the body."""


def loads(body: bytes) -> Any:
    """Parse a JSON document; raise `JSONRefusedError` if parsers could differ about its value.

    Errors beside those of syntax: encodings other than UTF-8, duplicate members, objects of
    more than 1000 members, more than 50,000 values in all, NaN and infinities, numbers beyond a
    double or 64 bits, NUL, lone surrogates, nesting beyond the stack.
    """
    try:
        text = body.decode()
        # Count commas before parsing; there is one between any two values of an array or object.
        if text.count(",") > MAX_VALUES and _STRING.sub("", text).count(",") > MAX_VALUES:
            raise JSONRefusedError("The body has too many values.")
        value = json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_in_range,
        )
        # Only escapes can represent NUL or surrogates at this point.
        if "\\u" in text:
            _check_strings(value)
    except JSONRefusedError:
        raise
    except UnicodeDecodeError:
        raise JSONRefusedError("The body is not UTF-8.") from None
    except RecursionError:
        raise JSONRefusedError("The body is nested too deeply.") from None
    except ValueError:
        raise JSONRefusedError("The body is not valid JSON.") from None
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JSONRefusedError("An object contains a member twice.")
    if len(members) > MAX_MEMBERS:
        raise JSONRefusedError("An object has too many members.")
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise JSONRefusedError("NaN and Infinity are not JSON.")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JSONRefusedError("A number is out of range.")
    return number


def _in_range(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise JSONRefusedError("A number is out of range.")
    return int(digits)


_UNWELCOME = re.compile("[\0\ud800-\udfff]")


def _check_strings(value: Any) -> None:
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, str):
            if _UNWELCOME.search(current):
                raise JSONRefusedError("A string contains NUL or half a surrogate pair.")
        elif isinstance(current, dict):
            pending.extend(current)
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
