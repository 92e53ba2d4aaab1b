"""Hostile sizes, queries, paths and headers are rejected with 4xx and never repeated."""

import base64
import json
from collections.abc import Iterator
from itertools import repeat

import pytest
import structlog

from tests.core.conftest import Served
from tests.hostile import CANARY, assert_refused, raw
from tests.samples import present

ITEMS = "/api/v1/items"
LOGIN = "/api/v1/auth/login"
MIB = 1024 * 1024
CHUNK = 64 * 1024
JSON = (b"content-type", b"application/json")
LISTS = present(["/api/v1/items", "/api/v1/articles", "/api/v1/users", "/api/v1/auth/sessions"])
SEARCHED = [path for path in LISTS if path != "/api/v1/auth/sessions"]


def bearer(served: Served) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {served.member.token}".encode()


def endless() -> Iterator[bytes]:
    return repeat(b" " * CHUNK)


@pytest.mark.parametrize("path", [ITEMS, LOGIN, "/api/v1/articles"])
async def test_a_body_that_says_it_is_too_large_is_not_read(served: Served, path: str) -> None:
    length = (b"content-length", str(MIB + 1).encode())
    answer = await raw(
        served.app, "POST", path, headers=[JSON, bearer(served), length], chunks=endless()
    )
    assert (answer.status, answer.json()["error"]) == (413, "PAYLOAD_TOO_LARGE")
    assert answer.consumed == 0


@pytest.mark.parametrize("path", [ITEMS, LOGIN])
@pytest.mark.parametrize("length", [None, b"10", b"0", b"-1", b"", b"x", b"1e9", b"9" * 5000])
async def test_a_body_that_grows_too_large_is_read_no_further(
    served: Served, path: str, length: bytes | None
) -> None:
    headers = [JSON, bearer(served)] + ([(b"content-length", length)] if length else [])
    answer = await raw(served.app, "POST", path, headers=headers, chunks=endless())
    assert answer.status == 413
    assert answer.consumed <= MIB + CHUNK


@pytest.mark.parametrize(
    "content_type", [b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"]
)
async def test_a_form_that_grows_too_large_is_read_no_further(
    served: Served, content_type: bytes
) -> None:
    headers = [(b"content-type", content_type)]
    chunk = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n".ljust(CHUNK, b"y")
    answer = await raw(served.app, "POST", LOGIN, headers=headers, chunks=repeat(chunk))
    assert answer.status in (400, 413, 422)
    assert answer.consumed <= MIB + CHUNK


async def test_a_body_of_exactly_the_limit_is_read(served: Served) -> None:
    text = json.dumps({"title": "x"}).encode()
    answer = await served.member.post(
        ITEMS, content=text.ljust(MIB), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 201
    answer = await served.member.post(
        ITEMS, content=text.ljust(MIB + 1), headers={"Content-Type": "application/json"}
    )
    assert_refused(answer, 413)


async def test_strangers_and_wrong_types_are_refused_before_anything_is_read(
    served: Served,
) -> None:
    stranger = await raw(served.app, "POST", ITEMS, headers=[JSON], chunks=endless())
    assert (stranger.status, stranger.consumed) == (401, 0)
    text = [(b"content-type", b"text/plain"), bearer(served)]
    mistyped = await raw(served.app, "POST", ITEMS, headers=text, chunks=endless())
    assert (mistyped.status, mistyped.consumed) == (415, 0)
    nowhere = await raw(served.app, "POST", "/nowhere", headers=[JSON], chunks=endless())
    assert (nowhere.status, nowhere.consumed) == (404, 0)


@pytest.mark.parametrize("path", [ITEMS, LOGIN])
async def test_a_client_that_disconnects_is_no_failure_of_ours(
    served: Served, path: str, log: list[structlog.typing.EventDict]
) -> None:
    headers = [JSON, bearer(served), (b"content-length", b"100")]
    answer = await raw(served.app, "POST", path, headers=headers, chunks=[b"{"], disconnects=True)
    assert answer.status == 400
    assert "unhandled_error" not in [event["event"] for event in log]


async def test_small_bodies_with_a_length_that_lies(served: Served) -> None:
    body = json.dumps({"title": "x"}).encode()
    for length in (b"1", b"900000", b"-5", b"x", b""):
        headers = [JSON, bearer(served), (b"content-length", length)]
        answer = await raw(served.app, "POST", ITEMS, headers=headers, chunks=[body])
        assert answer.status == 201


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        *((f"limit={value}", "limit") for value in ("0", "101", "-1", "1e1", "", "5.0", "0x10")),
        *((f"limit={value}", "limit") for value in ("%EF%BC%95", "1_0", "+5", "%205", "9" * 5000)),
        *(
            (f"limit={value}", "limit")
            for value in ("true", "10&limit=10", "5%00", "5&limit=", "%")
        ),
        *((f"offset={value}", "offset") for value in ("-1", "10001", "", "1.0", "9" * 400)),
        ("offset=0&cursor=x", "offset"),
        *((f"total={value}", "total") for value in ("1", "yes", "TRUE", "", "on", CANARY)),
        *((f"sort={value}", "sort") for value in ("", "-", CANARY, "--created_at", "created_at,")),
        *((f"sort={value}", "sort") for value in ("created_at,-created_at", "password_hash")),
        *((f"sort={value}", "sort") for value in ("created_at%20desc", "created_at;", "1", "id)")),
        *((f"fields={value}", "fields") for value in ("", CANARY, "id,", "*", "id,password_hash")),
        ("fields=id&fields=id", "fields"),
        ("cursor=a&cursor=b", "cursor"),
        ("cursor=a%00", "cursor"),
        ("unknown=1", "unknown"),
        ("LIMIT=1", "LIMIT"),
        ("limit[]=1", None),
        (f"{CANARY}%20=1", None),
        (f"%00{CANARY}=1", None),
        (f"%FF{CANARY}", None),
        ("=1", None),
        ("x" * 65, None),
    ],
)
async def test_queries_of_lists(served: Served, path: str, query: str, field: str | None) -> None:
    problem = assert_refused(await served.admin.get(f"{path}?{query}"), 422)
    fields = {error["field"] for error in problem["errors"]}
    assert fields == {f"query.{field}" if field else "query"}


@pytest.mark.parametrize("name", ["created_after", "created_before"])
@pytest.mark.parametrize("path", SEARCHED)
@pytest.mark.parametrize(
    "value",
    [
        *("2026-01-01", "2026-01-01T00:00:00", "1767225600", "1767225600.5", "-1", "", "now"),
        *("2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00%2B99:00"),
        *(CANARY, f"2026-01-01T00:00:00Z{CANARY}", "2026-01-01T00:00:00Z%00", "%EF%BC%92026-01-01"),
        *("2026-01-01 00:00:00Z", "10000-01-01T00:00:00Z", "P1D", "0000-01-01T00:00:00Z"),
    ],
)
async def test_times_that_are_none(served: Served, path: str, name: str, value: str) -> None:
    problem = assert_refused(await served.admin.get(f"{path}?{name}={value}"), 422)
    assert [error["field"] for error in problem["errors"]] == [f"query.{name}"]


@pytest.mark.parametrize(
    "value",
    [
        *("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456%2B05:30", "0001-01-01T00:00:00Z"),
        *("0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59.999999-23:59"),
    ],
)
async def test_times_at_the_edge(served: Served, value: str) -> None:
    for path in SEARCHED:
        assert (await served.admin.get(f"{path}?created_after={value}&limit=1")).status_code == 200


@pytest.mark.parametrize(
    "query", ["owner_id=x", "owner_id=", f"owner_id={CANARY}", "owner_id=%00", "owner_id=1&q=x"]
)
async def test_filters_by_id(served: Served, query: str) -> None:
    problem = assert_refused(await served.admin.get(f"{ITEMS}?{query}"), 422)
    assert [error["field"] for error in problem["errors"]] == ["query.owner_id"]


@pytest.mark.parametrize("q", ["", "%20", "%00", "%E2%80%8B", "a%00b", "x&q=y"])
async def test_searches_for_nothing(served: Served, q: str) -> None:
    for path in SEARCHED:
        problem = assert_refused(await served.admin.get(f"{path}?q={q}"), 422)
        assert [error["field"] for error in problem["errors"]] == ["query.q"]


@pytest.mark.parametrize(
    "q",
    ["%25", "_", "%5C", "'", '"', "%22%22%22", "-", "!", "a:*", "(((", "%26%7C", "%F0%9F%98%80"],
)
async def test_any_search_is_answered(served: Served, q: str) -> None:
    for path in SEARCHED:
        assert (await served.admin.get(f"{path}?q={q}&limit=1&total=true")).status_code == 200
    assert (await served.admin.get(f"{ITEMS}?q={q * 3000}")).status_code == 200


async def a_cursor(served: Served, query: str = "") -> str:
    for _ in range(2):
        await served.admin.post(ITEMS, json={"title": "x"})
    page = (await served.admin.get(f"{ITEMS}?limit=1{query}")).json()
    cursor: str = page["next_cursor"]
    return cursor


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", CANARY, "=", "A" * 10_000, "%F0%9F%98%80", "..%2F..", "null", "%20", "a+b"),
        base64.urlsafe_b64encode(bytes(16) + b'["2026-01-01T00:00:00Z","x"]').decode(),
        base64.urlsafe_b64encode(b"[" * 20_000).decode(),
    ],
)
async def test_cursors_that_are_none(served: Served, cursor: str) -> None:
    for path in LISTS:
        answer = await served.admin.get(f"{path}?cursor={cursor}")
        assert assert_refused(answer, 400)["error"] == "INVALID_CURSOR"


async def test_cursors_that_were_changed(served: Served) -> None:
    cursor = await a_cursor(served)
    assert (await served.admin.get(f"{ITEMS}?cursor={cursor}")).status_code == 200
    changed = [
        cursor[:i] + ("A" if cursor[i] != "A" else "B") + cursor[i + 1 :] for i in (0, 9, 40)
    ]
    for forged in (
        *changed,
        cursor[:-4],
        cursor + "AAAA",
        cursor * 2,
        cursor + "!",
        cursor.upper(),
    ):
        answer = await served.admin.get(f"{ITEMS}?cursor={forged}")
        assert assert_refused(answer, 400)["error"] == "INVALID_CURSOR"


async def test_cursors_of_another_list_or_question(served: Served) -> None:
    cursor = await a_cursor(served)
    foreign = [f"{path}?cursor={cursor}" for path in LISTS[1:]]
    foreign += [
        f"{ITEMS}?cursor={cursor}&{other}"
        for other in ("sort=created_at", "sort=-title", "q=x", "created_after=2020-01-01T00:00:00Z")
    ]
    for url in foreign:
        assert assert_refused(await served.admin.get(url), 400)["error"] == "INVALID_CURSOR"
    # A member sees fewer rows than an administrator, so the cursor is one of another list.
    answer = await served.member.get(f"{ITEMS}?cursor={cursor}")
    assert assert_refused(answer, 400)["error"] == "INVALID_CURSOR"


async def test_cursors_do_not_mind_another_shape_of_the_page(served: Served) -> None:
    cursor = await a_cursor(served, "&sort=title")
    for other in ("limit=7", "fields=id", "total=true"):
        url = f"{ITEMS}?cursor={cursor}&sort=title&{other}"
        assert (await served.admin.get(url)).status_code == 200


ID = "0198c1f2-7d3a-7c4e-9b5a-3f1e2d4c5b6a"


@pytest.mark.parametrize(
    "id",
    [
        *("x", "0", "-1", "null", "undefined", "%20", "%00", "%FF", "%0A", "..%2F", "%2e%2e", "*"),
        *(f"{ID}x", f"%20{ID}", f"{ID}%00", f"{ID}%0A", f"{{{ID}}}", f"urn:uuid:{ID}", ID[:-1]),
        *(ID.replace("-", ""), ID.replace("0", "G"), "%D9%A0" * 36, "x" * 10_000),
    ],
)
@pytest.mark.parametrize("collection", ["items", "articles", "users"])
async def test_malformed_ids_are_ids_of_nothing(served: Served, collection: str, id: str) -> None:
    url = f"/api/v1/{collection}/{id}"
    for method, body in (("GET", None), ("PATCH", {}), ("PATCH", {"no": 1}), ("DELETE", None)):
        answer = await served.admin.request(method, url, json=body)
        assert_refused(answer, 404, 405)
    if collection == "articles":
        assert_refused(await served.admin.post(f"{url}/publish"), 404, 405)


def token_of(header: str) -> str:
    return base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode() + ".e30.AAAA"


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "Bearer", "Bearer ", "bearer  ", f"Bearer {CANARY}", f"Basic {CANARY}", CANARY),
        *(f"Token {CANARY}", f"Bearer {CANARY} {CANARY}", f"Bearer,{CANARY}", "Bearer a.b.c"),
        *("Bearer ...", "Bearer ..", "Bearer é", "Bearer \x00", f"Bearer {'x' * 100_000}"),
        *(f"Bearer {'a.' * 50_000}", f"Bearer {{{CANARY}}}"),
        *(
            f"Bearer {token_of(header)}"
            for header in (
                *("", "null", "[]", "1", '"x"', "{", "{}", "[" * 50_000, '{"a":' * 50_000),
                *('{"alg":"none"}', '{"alg":null}', '{"alg":["HS256"]}', '{"alg":{}}'),
                *('{"alg":"HS256","kid":null}', '{"alg":"HS256","kid":[1]}', '{"alg":"HS512"}'),
                *('{"alg":"HS256","kid":{}}', '{"alg":"HS256","typ":1}', '{"alg":"HS256","b64":0}'),
                *('{"alg":"HS256","typ":"at+jwt","kid":"\\ud800"}', '{"alg":"RS256","kid":"x"}'),
                *('{"alg":"HS256","crit":["x"]}', '{"alg":' + "9" * 5000 + "}", '{"kid":"../x"}'),
                *('{"alg":"HS256","typ":"at+jwt"}', '{"alg":"HS256","typ":"at+jwt","b64":false}'),
            )
        ),
    ],
)
async def test_tokens_that_are_none(served: Served, value: str) -> None:
    header = [(b"authorization", value.encode("latin-1"))]
    for path in (ITEMS, "/api/v1/articles", "/api/v1/users/me"):
        answer = await raw(served.app, "GET", path, headers=header)
        assert answer.status == 401, answer.body
        assert answer.json()["error"] == "INVALID_TOKEN"
        assert answer.headers[b"www-authenticate"].startswith(b"Bearer")
        assert CANARY.encode() not in answer.body + b"".join(answer.headers.values())
    assert (await raw(served.app, "GET", "/health", headers=header)).status == 200


@pytest.mark.parametrize(
    "accept",
    [
        *(
            "*/*",
            "application/json",
            "application/*",
            "application/problem+json",
            "Application/JSON",
        ),
        *(
            "text/html, */*;q=0.1",
            "application/json; q=0.001",
            "text/html;q=1,application/json;q=.5",
        ),
        *("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", ""),
        *('application/json; charset="utf-8"', "  application/json  ,,", "*/* , text/html;q=0"),
    ],
)
async def test_accept_that_includes_json(served: Served, accept: str) -> None:
    answer = await served.member.get(ITEMS, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "accept",
    [
        *("text/html", "application/xml", "text/*", "image/png, text/plain", CANARY, "json", "*"),
        *("application/json;q=0", "application/json; q=0.000", "*/*;q=0", "application/json5"),
        *(f"text/{CANARY}", "application/jsonp", "text/html;q=application/json"),
    ],
)
async def test_accept_that_excludes_json(served: Served, accept: str) -> None:
    headers = {"Accept": accept}
    before = (await served.member.get(ITEMS, params={"total": "true"})).json()["total"]
    for answer in (
        await served.member.get(ITEMS, headers=headers),
        await served.member.post(ITEMS, headers=headers, json={"title": "x"}),
        await served.anonymous.get("/api/v1/articles", headers=headers),
    ):
        assert assert_refused(answer, 406)["error"] == "NOT_ACCEPTABLE"
    assert_refused(await served.anonymous.get(ITEMS, headers=headers), 401)
    assert (await served.member.get(ITEMS, params={"total": "true"})).json()["total"] == before


async def test_accept_may_come_in_several_lines(served: Served) -> None:
    lines = [(b"accept", b"text/html"), (b"accept", b"application/json"), bearer(served)]
    assert (await raw(served.app, "GET", ITEMS, headers=lines)).status == 200


@pytest.mark.parametrize("sent", ["a", "A.b_c-9", "x" * 128, "0", "."])
async def test_a_safe_request_id_is_kept(served: Served, sent: str) -> None:
    answer = await served.anonymous.get("/nowhere", headers={"X-Request-ID": sent})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == sent


@pytest.mark.parametrize(
    "sent",
    [b"", b" ", b"x" * 129, b"a b", b"a/b", b"\xe4", b"a\nb", b"a\x00", f"<{CANARY}>".encode()],
)
async def test_another_request_id_is_replaced(served: Served, sent: bytes) -> None:
    answers = [
        await raw(served.app, "GET", "/nowhere", headers=[(b"x-request-id", sent)]) for _ in "12"
    ]
    ids = {answer.headers[b"x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert sent not in ids
    assert all(CANARY.encode() not in answer.body for answer in answers)
    assert all(len(each) >= 16 for each in ids)


@pytest.mark.parametrize(
    "path",
    [
        *("/%00", "/%FF", "/api/v1/%F0%9F%98%80", "/%0d%0aX: y", "/x%3Cy%3E"),
        *("/health%0A", "/health%0A/", "/api/v1/articles%0A"),
    ],
)
async def test_paths_that_lead_nowhere(served: Served, path: str) -> None:
    answer = await served.anonymous.get(f"{path}?{CANARY}={CANARY}")
    problem = assert_refused(answer, 404)
    assert problem["path"] == problem["instance"]
    assert problem["path"].isascii()
    assert not set(problem["path"]) & set('<>"\r\n\0 ')


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "x" * 1000, CANARY])
async def test_unknown_methods(served: Served, method: str) -> None:
    answer = await raw(served.app, method, ITEMS)
    assert (answer.status, answer.json()["error"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers[b"allow"] == b"GET, HEAD, POST"
    assert CANARY.encode() not in answer.body
