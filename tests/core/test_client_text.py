"""Adverse strings and documents cost no Python call per character or value."""

import json
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from backend.core import schemas
from backend.core.http import strict_json
from backend.core.http.forms import MAX_ESCAPES
from backend.core.http.request_checks import accepts
from backend.core.http.strict_json import MAX_VALUES, JSONRefusedError
from backend.core.schemas import Trimmed
from tests.actors import Actor, Client

MAXIMUM = 500_000
CONTENT = TypeAdapter[str](Annotated[str, Trimmed(MAXIMUM)])
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def calls(work: Callable[[], Any]) -> int:
    """Return the number of functions that are called, including those of C."""
    made = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return made


@pytest.mark.parametrize(
    "text",
    [
        "\u034f",  # an invisible joiner
        "\u200b",  # an invisible format character
        "\u034f\u200b",
        "\u0378",  # unassigned
        "\u0378\u034f",
        "\U000e0100",
        "\x01",
    ],
    ids=ascii,
)
def test_a_text_without_anything_visible_is_looked_at_at_once(text: str) -> None:
    whole = text * (MAXIMUM // len(text))

    def refuse() -> None:
        with pytest.raises(ValidationError, match="something visible"):
            CONTENT.validate_python(whole)

    assert calls(refuse) < 1000
    assert calls(lambda: CONTENT.validate_python(whole[1:] + "x")) < 1000


@pytest.mark.slow
def test_what_is_visible_is_so_by_its_category() -> None:
    for number in range(sys.maxunicode + 1):
        character = chr(number)
        visible = character.isprintable() and character != " " and not INVISIBLE.match(character)
        assert schemas.is_visible(character) == visible, hex(number)
        if visible:
            assert schemas.is_visible(f"\u0378 {character}"), hex(number)


def many(value: str, count: int) -> bytes:
    return f"[{','.join([value] * count)}]".encode()


@pytest.mark.parametrize("value", ["0", "{}", "1e1", "[]", '""', '"\\u0041"', '"\\\\"'])
def test_a_document_of_too_many_values_is_not_read(value: str) -> None:
    def refuse() -> None:
        with pytest.raises(JSONRefusedError, match="too many values"):
            strict_json.loads(many(value, MAX_VALUES + 2))

    assert calls(refuse) < 1000
    assert len(strict_json.loads(many(value, MAX_VALUES))) == MAX_VALUES


@pytest.mark.parametrize("text", [",", "\\,", '",', "\\\\,", '\\",'], ids=ascii)
def test_commas_in_a_text_are_no_values(text: str) -> None:
    value = {"content": text * MAX_VALUES * 2}
    assert strict_json.loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("end", ["", "\\", '"', '\\"', "]"], ids=ascii)
def test_a_text_without_an_end_is_no_document(end: str) -> None:
    with pytest.raises(JSONRefusedError):
        strict_json.loads(('["' + '\\",' * (MAX_VALUES + 1) + end).encode())


async def test_such_a_document_is_a_bad_request(ada: Actor) -> None:
    refused = await ada.post(
        "/api/v1/items",
        content=many("0", 400_000),
        headers={"Content-Type": "application/json"},
    )
    assert refused.status_code == 400
    assert refused.json()["detail"] == "The body has too many values."


async def test_a_form_of_too_many_escapes_is_not_read(client: Client) -> None:
    refused = await client.post(
        "/api/v1/auth/login",
        content="username=" + "%41" * (MAX_ESCAPES + 1),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert refused.status_code == 400
    assert "too many escapes" in refused.json()["detail"]


def test_of_a_list_of_media_types_the_first_hundred_count() -> None:
    offered = frozenset({"application/json"})
    assert accepts("text/html," * 99 + "application/json", offered)
    assert not accepts("text/html," * 100 + "application/json", offered)
    assert calls(lambda: accepts("," * 60_000, offered)) < 1000
