"""Hostile bodies are rejected with 4xx and never repeated in responses."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import AwareDatetime, Field

from backend.core.authorization import public
from backend.core.errors import error_responses
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.schemas import Schema
from tests.actors import PASSWORD, Actor, Client
from tests.applications import MODULES, make_app
from tests.core.conftest import Served
from tests.hostile import CANARY, assert_refused
from tests.samples import present

ITEMS = "/api/v1/items"
ARTICLES = "/api/v1/articles"
ME = "/api/v1/users/me"
REGISTER = "/api/v1/auth/register"
LOGIN = "/api/v1/auth/login"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# Routes of different modules that take JSON, each with a member that it accepts.
ROUTES = dict(
    present(
        [
            ("items", ("POST", ITEMS, "title")),
            ("articles", ("POST", ARTICLES, "content")),
            ("me", ("PATCH", ME, "full_name")),
            ("register", ("POST", REGISTER, "password")),
            ("login", ("POST", LOGIN, "password")),
        ]
    )
)
Send = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def ada(served: Served) -> Actor:
    return served.member


@pytest.fixture
def client(served: Served) -> Client:
    return served.anonymous


@pytest.fixture(params=ROUTES)
def send(request: pytest.FixtureRequest, ada: Actor) -> Send:
    """Send a body to each of the routes, as a user with permission."""
    method, path, _ = ROUTES[request.param]

    async def call(content: bytes, **headers: str) -> httpx.Response:
        sent = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        answer: httpx.Response = await ada.request(method, path, content=content, headers=sent)
        return answer

    return call


def with_value(value: str) -> bytes:
    """Return every member that any of the routes takes, with this JSON text as its value."""
    names = ("title", "description", "content", "full_name", "username", "email", "password")
    members = ",".join(f'"{name}":{value}' for name in names)
    return f'{{{members},"{CANARY} \\u2603":1}}'.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        pytest.param(with_value(f'"{CANARY}\\u0000"'), "NUL", id="nul"),
        pytest.param(with_value(f'"{CANARY}\\ud800"'), "surrogate", id="high surrogate"),
        pytest.param(with_value(f'"\\udc00{CANARY}"'), "surrogate", id="low surrogate"),
        pytest.param(with_value(f'"{CANARY}\udc00"'), "not UTF-8", id="surrogate in utf-8"),
        pytest.param(f'{{"{CANARY}\\u0000":1}}'.encode(), "NUL", id="nul in a name"),
        pytest.param(f'{{"a":[{{"{CANARY}\\ud800":1}}]}}'.encode(), "surrogate", id="deep name"),
        pytest.param(with_value("NaN"), "NaN and Infinity", id="nan"),
        pytest.param(with_value("-Infinity"), "NaN and Infinity", id="infinity"),
        pytest.param(with_value("1e999"), "out of range", id="1e999"),
        pytest.param(with_value("-1e999"), "out of range", id="-1e999"),
        pytest.param(with_value("9" * 20), "out of range", id="20 digits"),
        pytest.param(with_value("9" * 5000), "out of range", id="5000 digits"),
        pytest.param(with_value("-" + "9" * 100_000), "out of range", id="100000 digits"),
        pytest.param(with_value(str(2**63)), "out of range", id="2**63"),
        pytest.param(b'{"title":"a","title":"%b"}' % CANARY.encode(), "twice", id="duplicate"),
        pytest.param(b'{"a":[{"b":1,"\\u0062":2}]}', "twice", id="duplicate by escape"),
        pytest.param(with_value('"x"').decode().encode("utf-16"), "not UTF-8", id="utf-16"),
        pytest.param(with_value('"x"').decode().encode("utf-16-be"), "not ", id="utf-16 bare"),
        pytest.param(with_value('"x"').decode().encode("utf-32"), "not UTF-8", id="utf-32"),
        pytest.param(b"\xef\xbb\xbf" + with_value('"x"'), "not valid JSON", id="bom"),
        pytest.param(with_value('"é"').decode().encode("latin-1", "replace"), "not ", id="latin-1"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="100000 open brackets"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, "nested too deeply", id="100000 brackets"),
        pytest.param(b'{"a":' * 100_000, "nested too deeply", id="100000 open braces"),
        pytest.param(f"{CANARY}".encode(), "not valid JSON", id="no json"),
        pytest.param(f'{{"title":"{CANARY}"'.encode(), "not valid JSON", id="cut off"),
        pytest.param(f'{{"title":"{CANARY}"}}{{}}'.encode(), "not valid JSON", id="two documents"),
        pytest.param(f"{{'title':'{CANARY}'}}".encode(), "not valid JSON", id="single quotes"),
        pytest.param(f'{{"title":"{CANARY}",}}'.encode(), "not valid JSON", id="comma at the end"),
        pytest.param(f'{{"title":"{CANARY}\n"}}'.encode(), "not valid JSON", id="raw newline"),
        pytest.param(with_value("0x10"), "not valid JSON", id="hexadecimal"),
        pytest.param(with_value("01"), "not valid JSON", id="leading zero"),
        pytest.param(b"\0", "not valid JSON", id="one nul byte"),
        pytest.param(b"   ", "not valid JSON", id="blanks"),
    ],
)
async def test_json_that_could_be_read_in_two_ways(send: Send, body: bytes, detail: str) -> None:
    answer = await send(body)
    problem = assert_refused(answer, 400)
    assert problem["error"] == "BAD_REQUEST"
    assert detail in problem["detail"]


@pytest.mark.parametrize(
    "body",
    ["", "null", "true", "1", "1.5", f'"{CANARY}"', "[]", f'["{CANARY}"]', f'[{{"x":"{CANARY}"}}]'],
)
async def test_json_that_is_no_object(send: Send, body: str) -> None:
    problem = assert_refused(await send(body.encode()), 422)
    fields = {error["field"] for error in problem["errors"]}
    # A sign-in reads its body itself: without one, its members are missing.
    assert fields == ({"body"} if body or "body" in fields else {"body.email", "body.password"})


@pytest.mark.parametrize("depth", [10, 100, 500, 900, 980])
async def test_nesting_up_to_the_limit_is_no_accident(send: Send, depth: int) -> None:
    nested = f'"{CANARY}"'
    for _ in range(depth):
        nested = f'{{"{CANARY} deep":[{nested}]}}'
    assert_refused(await send(with_value(nested)), 400, 422)


async def test_thousands_of_members(send: Send) -> None:
    members = ",".join(f'"{CANARY} {number}":{number}' for number in range(30_000))
    assert_refused(await send(f"{{{members}}}".encode()), 400)


async def test_of_many_errors_only_some_are_told(send: Send) -> None:
    members = ",".join(f'"{CANARY} {number}":{number}' for number in range(900))
    answer = await send(f"{{{members}}}".encode())
    assert_refused(answer, 422)
    assert len(answer.json()["errors"]) == 100


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/jsonp",
        "application/json5",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "text/json",
        "json",
        ";",
        "",
        f"{CANARY}/{CANARY}",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=utf-80",
        'application/json; charset="iso-8859-1"',
        "application/json;charset=",
        f"application/json; charset={CANARY}",
    ],
)
@pytest.mark.parametrize("route", [name for name in ROUTES if name != "login"])
async def test_other_content_types(ada: Actor, route: str, content_type: str) -> None:
    method, path, _ = ROUTES[route]
    answer = await ada.request(
        method, path, content=with_value('"x"'), headers={"Content-Type": content_type}
    )
    assert assert_refused(answer, 415)["error"] == "UNSUPPORTED_MEDIA_TYPE"


async def test_a_body_without_content_type(send: Send, ada: Actor) -> None:
    for method, path, _ in ROUTES.values():
        request = ada.client.build_request(method, path, content=with_value('"x"'))
        assert "content-type" not in request.headers
        assert_refused(await ada.client.send(request), 415)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/json ; charset=utf8; profile=x",
    ],
)
async def test_json_by_its_other_spellings(ada: Actor, content_type: str) -> None:
    content = json.dumps({"title": "Zürich ☃"}, ensure_ascii=False).encode()
    answer = await ada.post(ITEMS, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == 201, answer.text
    assert answer.json()["title"] == "Zürich ☃"


async def test_merge_patch_is_for_patch(ada: Actor) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    changed = await ada.patch(ME, content=b'{"full_name":"Ada"}', headers=headers)
    assert changed.json()["full_name"] == "Ada"
    assert_refused(await ada.post(ITEMS, content=b'{"title":"x"}', headers=headers), 415)


async def test_patching_nothing_changes_nothing(ada: Actor) -> None:
    before = (await ada.get(ME)).json()
    answer = await ada.patch(ME, json={})
    assert (answer.status_code, answer.json()) == (200, before)
    made = (await ada.post(ITEMS, json={"title": "Milk"})).json()
    answer = await ada.patch(f"{ITEMS}/{made['id']}", json={})
    assert (answer.status_code, answer.json()) == (200, made)


@pytest.mark.parametrize("value", [1, 1.5, True, [], {}, [CANARY]])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_text_is_a_text(ada: Actor, route: str, value: object) -> None:
    method, path, member = ROUTES[route]
    known = {"register": {"email": "new@example.com"}, "login": {"email": "ada"}}.get(route, {})
    if route == "articles":
        known = {"title": "x"}
    problem = assert_refused(await ada.request(method, path, json={**known, member: value}), 422)
    assert [error["field"] for error in problem["errors"]] == [f"body.{member}"]
    assert problem["errors"][0]["code"] == "string_type"


class Probe(Schema):
    count: int = 0
    ratio: float = 0
    flag: bool = False
    text: str = ""
    id: UUID | None = None
    when: AwareDatetime | None = None
    each: list[int] = Field(default_factory=list)
    inner: "Probe | None" = None


probe_router = Router(prefix="/made-probe", tags=["made_probe"], dependencies=[public])


@probe_router.post("", responses=error_responses())
async def take(probe: Probe) -> Probe:
    return probe


@pytest.fixture(scope="module")
async def probe(served: Served) -> AsyncIterator[Client]:
    """A route whose body has members of every type."""
    modules = [*MODULES, Module("made_probe", router=probe_router)]
    async with Client(make_app(served.context, modules)) as made:
        yield made


REFUSED: dict[str, list[object]] = {
    "count": ["5", "", 5.0, 5.5, True, None, [5], "\uff15", "1_0"],
    "ratio": ["1.5", "", True, None, "NaN", "Infinity", "1e3"],
    "flag": ["true", "false", "yes", "on", "", 0, 1, 1.0, None],
    "text": [1, 1.5, False, None, ["x"], {"x": "x"}],
    "id": [1, "x", CANARY, "", [], True, 1.5],
    "when": [CANARY, "", "2026-01-01T00:00:00", [], True],
    "each": ["1", {"0": 1}, 1, None, True],
    "inner": [[], "x", 1, True],
}


@pytest.mark.parametrize(
    ("member", "value"), [(member, each) for member, values in REFUSED.items() for each in values]
)
async def test_json_types_are_read_as_they_are(probe: Client, member: str, value: object) -> None:
    assert (await probe.post("/api/v1/made-probe", json={})).status_code == 200
    for body, field in (
        ({member: value}, f"body.{member}"),
        ({"inner": {"inner": {member: value}}}, f"body.inner.inner.{member}"),
    ):
        problem = assert_refused(await probe.post("/api/v1/made-probe", json=body), 422)
        assert problem["errors"][0]["field"].startswith(field)


async def test_each_row_is_named_by_its_index(probe: Client) -> None:
    answer = await probe.post("/api/v1/made-probe", json={"each": [1, CANARY, 3, "4"]})
    fields = [error["field"] for error in assert_refused(answer, 422)["errors"]]
    assert fields == ["body.each.1", "body.each.3"]


async def test_null_is_no_text(ada: Actor) -> None:
    made = (await ada.post(ITEMS, json={"title": "Milk"})).json()
    for answer in (
        await ada.post(ITEMS, json={"title": None}),
        await ada.patch(f"{ITEMS}/{made['id']}", json={"title": None}),
    ):
        assert assert_refused(answer, 422)["errors"][0]["field"] == "body.title"


async def test_unknown_members_are_named_if_their_names_are_harmless(ada: Actor) -> None:
    for method, path, _ in ROUTES.values():
        known = {"title": "x"} if path in (ITEMS, ARTICLES) else {}
        answer = await ada.request(method, path, json={**known, "is-it_really.2": CANARY})
        problem = assert_refused(answer, 422)
        assert "body.is-it_really.2" in [error["field"] for error in problem["errors"]]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        f"{CANARY}!",
        f"<script>{CANARY}",
        "ä",
        "x" * 65,
        f"{CANARY}\n",
        '"',
        f"{CANARY}\r\nX",
    ],
)
async def test_unknown_members_are_not_repeated_otherwise(ada: Actor, name: str) -> None:
    for method, path, _ in ROUTES.values():
        answer = await ada.request(method, path, json={name: CANARY})
        problem = assert_refused(answer, 422)
        fields = [error["field"] for error in problem["errors"]]
        assert "body" in fields
        assert name == "" or f"body.{name}" not in fields


@pytest.mark.parametrize("member", ["owner_id", "id", "created_at", "status", "is_active", "roles"])
async def test_members_of_the_answer_are_not_writable(ada: Actor, member: str) -> None:
    known: dict[str, Any] = {"email": "x@example.com", "password": PASSWORD}
    for method, path, _ in ROUTES.values():
        sent = known if path == REGISTER else {"title": "x"}
        answer = await ada.request(method, path, json={**sent, member: CANARY})
        assert f"body.{member}" in [
            error["field"] for error in assert_refused(answer, 422)["errors"]
        ]


@pytest.mark.parametrize(
    "blank",
    [
        "",
        " ",
        "\t\r\n\v\f",
        "\u00a0",
        "\u3000\u2003",
        "\u2028\u2029\u0085",
        "\u200b",
        "\u200c\u200d\u200e\u200f",
        "\u2060\ufeff",
        "\u00ad\u061c\u180e",
        "\u202a\u202e\u2066\u2069",
        "\u034f\ufe0f\U000e0100",
        "\u115f\u1160\u3164\uffa0",
        "\u2800",
        "\x01\x1b\x7f",
        "\U000e0041",
    ],
    ids=lambda text: "+".join(f"{ord(character):04x}" for character in text) or "empty",
)
async def test_texts_need_something_visible(ada: Actor, blank: str) -> None:
    for path, member in ((ITEMS, "title"), (ARTICLES, "title"), (ARTICLES, "content")):
        answer = await ada.post(path, json={"title": "x", member: blank})
        problem = assert_refused(answer, 422)
        assert [error["field"] for error in problem["errors"]] == [f"body.{member}"]
    assert_refused(await ada.patch(ME, json={"full_name": blank}), 422)


@pytest.mark.parametrize(
    "text", ["a", "ä", "☃", "0", ".", "-", "👩\u200d🚀", "e\u0301", "ￃ", "م\u200cم"]
)
async def test_what_is_visible_is_kept_as_it_is(ada: Actor, text: str) -> None:
    answer = await ada.post(ITEMS, json={"title": f" \t{text}\n\u3000", "description": f"{text} "})
    assert answer.status_code == 201
    assert (answer.json()["title"], answer.json()["description"]) == (text, text)


@pytest.mark.parametrize(
    ("path", "member", "maximum"),
    [
        (ITEMS, "title", 255),
        (ITEMS, "description", 10_000),
        (ARTICLES, "title", 255),
        (ARTICLES, "content", 500_000),
        (ME, "full_name", 255),
        (ME, "username", 50),
    ],
)
async def test_maxima_count_characters_after_trimming(
    ada: Actor, path: str, member: str, maximum: int
) -> None:
    method = "PATCH" if path == ME else "POST"
    known = {} if path == ME else {"title": "x"}
    character = "x" if member in ("username", "content") else "😀"
    longest = character * maximum
    answer = await ada.request(method, path, json={**known, member: f" {longest} "})
    assert answer.is_success, answer.text
    assert answer.json()[member] == longest
    answer = await ada.request(method, path, json={**known, member: longest + character})
    problem = assert_refused(answer, 422)
    assert [error["field"] for error in problem["errors"]] == [f"body.{member}"]


@pytest.mark.parametrize(
    "username", ["ab", "a b", "a@b", "ädä", "a\u0000b", "ad\nda", "x" * 51, "\uff41\uff42\uff43"]
)
async def test_usernames(client: Client, username: str) -> None:
    answer = await client.post(
        REGISTER,
        json={"email": "new@example.com", "password": PASSWORD, "username": username},
    )
    assert_refused(answer, 400, 422)


@pytest.mark.parametrize(
    "form",
    [
        "",
        "=",
        "&&&",
        f"username={CANARY}",
        f"password={CANARY}",
        f"username={CANARY}&password=",
        f"username={CANARY}&username=x&password=x",
        f"username=x&password=x&{CANARY}+=1",
        f"username=x&password=x&{CANARY}%00=1",
        f"username={CANARY}{'x' * 300}&password=x",
        f"username=x&password={CANARY}{'x' * 300}",
        "&".join(f"{CANARY}{number}=1" for number in range(2000)),
        f"username={CANARY}%00&password=x",
    ],
)
async def test_forms_that_cannot_be_read(client: Client, form: str) -> None:
    assert_refused(await client.post(LOGIN, content=form, headers=FORM), 400, 422)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (f"{CANARY}%ED%A0%80", 400),
        (f"%FF%FE{CANARY}", 400),
        (f"%{CANARY}", 400),
        ("%", 401),
        ("%zz", 401),
    ],
)
async def test_forms_in_other_encodings_are_refused(
    client: Client, value: str, status: int
) -> None:
    form = f"username={value}&password={value}"
    assert_refused(await client.post(LOGIN, content=form, headers=FORM), status)


NAME = "Content-Disposition: form-data; name"


def part(header: str, content: str = "x") -> str:
    return f"--x\r\n{header}\r\n\r\n{content}\r\n--x--\r\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", f"{CANARY}"),
        ("multipart/form-data; boundary=", f"{CANARY}"),
        ("multipart/form-data; boundary=x", f"{CANARY}"),
        ("multipart/form-data; boundary=x", f"--x\r\n{CANARY}"),
        ("multipart/form-data; boundary=x", part(f"{CANARY}: y")),
        ("multipart/form-data; boundary=x; charset=nonsense", part(f'{NAME}="{CANARY} "')),
        ("multipart/form-data; boundary=x", part(f'{NAME}="password"; filename="{CANARY}"')),
        ("multipart/form-data; boundary=x", part(f'{NAME}="username"', f"{CANARY}\0")),
        (f"multipart/form-data; boundary={'x' * 5000}", f"{CANARY}"),
        (f"multipart/form-data; boundary=ä{CANARY}", f"{CANARY}"),
    ],
)
async def test_multipart_forms_that_cannot_be_read(
    client: Client, content_type: str, body: str
) -> None:
    headers = [(b"content-type", content_type.encode("latin-1"))]
    answer = await client.post(LOGIN, content=body, headers=headers)
    assert_refused(answer, 400, 415, 422)
