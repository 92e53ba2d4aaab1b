"""The development mailbox: stored mails, routes, and its absence in production."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.integrations.email import Message
from backend.modules.mail import mailbox, service
from backend.modules.mail.models import Mail
from backend.modules.mail.router import prefers_html
from tests.actors import BASE_URL, Client
from tests.applications import MODULES, make_app, make_context
from tests.contract import is_uuid7

URL = "/dev/mailbox"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
# Members that differ between two responses to the same request.
OF_THIS_REQUEST = {"instance", "path", "timestamp", "request_id"}


def message(number: int = 1, **values: Any) -> Message:
    given = {
        "to": "ada@example.com",
        "subject": f"Mail {number} 🌱",
        "text": "Open https://example.com/verify-email#token=a_b-c.\n",
        "html": '<p>Open <a href="https://example.com/verify-email#token=a_b-c">it</a>.</p>',
        "id": f"test.{number}",
    }
    return Message(**{**given, **values})


async def mails(client: Client, **query: str) -> list[dict[str, Any]]:
    answer = await client.get(URL, params=query)
    assert answer.status_code == 200
    assert answer.json().keys() == {"data"}
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_a_mail_is_shown_as_it_was_written(client: Client, context: Context) -> None:
    await service.deliver(context, SYSTEM, message())
    (mail,) = await mails(client)
    assert is_uuid7(mail.pop("id"))
    assert mail.pop("created_at").endswith("Z")
    assert mail == {
        "to": "ada@example.com",
        "subject": "Mail 1 🌱",
        "text": message().text,
        "html": message().html,
        "links": ["https://example.com/verify-email#token=a_b-c"],
    }


async def test_the_newest_are_first_and_not_too_many(
    client: Client, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await mails(client) == []
    monkeypatch.setattr(mailbox, "KEPT", 203)
    for number in range(205):
        await service.deliver(context, SYSTEM, message(number))
    subjects = [mail["subject"] for mail in await mails(client)]
    assert subjects == [f"Mail {number} 🌱" for number in range(204, 4, -1)]
    async with context.database.transaction() as session:
        kept = await session.scalar(select(func.count()).select_from(Mail))
    assert kept == 203


async def test_a_repeated_mail_is_there_once(client: Client, context: Context) -> None:
    for _ in range(3):
        await service.deliver(context, SYSTEM, message())
    assert len(await mails(client)) == 1


async def test_mails_of_one_address(client: Client, context: Context) -> None:
    await service.deliver(context, SYSTEM, message(1))
    await service.deliver(context, SYSTEM, message(2, to="Bob@example.com"))
    (mail,) = await mails(client, to="bob@example.com")
    assert mail["to"] == "Bob@example.com"
    assert await mails(client, to="ob@example.com") == []


async def test_emptying(client: Client, context: Context) -> None:
    await service.deliver(context, SYSTEM, message())
    assert (await client.delete(URL)).status_code == 204
    assert await mails(client) == []
    # The same mail is stored again: a new test begins with an empty mailbox.
    await service.deliver(context, SYSTEM, message())
    assert len(await mails(client)) == 1
    assert (await client.delete(f"{URL}/")).status_code == 204
    assert (await client.delete(URL)).status_code == 204


@pytest.mark.parametrize(
    ("text", "html", "links"),
    [
        ("no link", "<p>none</p>", []),
        ("https://a.example/x?y=1&z=2.", "", ["https://a.example/x?y=1&z=2"]),
        (
            "(https://a.example/)",
            '<a href="https://b.example">',
            ["https://b.example", "https://a.example/"],
        ),
        ("", '<a href="https://a.example/?x=1&amp;y=2">a</a>', ["https://a.example/?x=1&y=2"]),
        ("", '<a href="javascript:alert(1)">a</a><a>b</a><a href>c</a>', []),
        ("https://a.example https://a.example", "", ["https://a.example"]),
        ("", '<link href="https://a.example/x.css"><p>', []),
    ],
    ids=["none", "query", "both", "escaped", "no address", "twice", "no anchor"],
)
def test_links(text: str, html: str, links: list[str]) -> None:
    assert mailbox.links_of(text, html) == links


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/*", True),
        ("TEXT/HTML;q=0.3", True),
        ("text/html;q=0.9, application/json;q=0.8", True),
        ("text/html, application/json", False),
        ("text/html;q=0.8, */*;q=0.9", False),
        ("text/html;q=0, */*", False),
        ("application/json", False),
        ("*/*", False),
        ("", False),
        ("text/html;q=nonsense, application/json", False),
        (",;,=,q", False),
    ],
)
def test_what_a_client_prefers(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html


@pytest.mark.parametrize("accept", [BROWSER, "text/html"])
async def test_a_browser_gets_a_page(client: Client, accept: str) -> None:
    for answer in (
        await client.get(URL, headers={"Accept": accept}),
        await client.get(f"{URL}/", headers={"Accept": accept}),
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["vary"] == "Accept"
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'sha256-" in policy
        assert "unsafe-inline'; img-src" in policy
        assert "frame-ancestors 'none'" in policy
    head = await client.head(URL, headers={"Accept": accept})
    assert (head.status_code, head.content) == (200, b"")


async def test_everybody_else_gets_json(client: Client) -> None:
    for accept in ("*/*", "application/json"):
        answer = await client.get(URL, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["vary"] == "Accept"


@pytest.fixture
async def plain(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client that does not check refusals against OpenAPI, which excludes this route."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as made:
        yield made


async def test_what_is_neither_is_refused_here_and_html_elsewhere(
    client: Client, plain: httpx.AsyncClient
) -> None:
    answers = [
        await plain.get(URL, headers={"Accept": "image/png"}),
        await plain.get(URL, headers={"Accept": "text/html;q=0"}),
        await client.get("/health", headers={"Accept": "text/html"}),
        await client.get("/api/v1/articles", headers={"Accept": "text/html"}),
    ]
    assert [answer.status_code for answer in answers] == [406] * 4


async def test_other_parameters_and_methods_are_refused(
    client: Client, plain: httpx.AsyncClient
) -> None:
    assert (await plain.get(URL, params={"page": "2"})).status_code == 422
    assert (await plain.get(f"{URL}?to=a&to=b")).status_code == 422
    assert (await plain.get(URL, params={"to": "a" * 321})).status_code == 422
    refused = await client.post(URL)
    assert refused.status_code == 405
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


async def test_a_broken_token_does_not_matter(client: Client) -> None:
    assert (await client.get(URL, headers={"Authorization": "Bearer x"})).status_code == 200


@pytest.fixture(params=["production", "staging"])
def outside(request: pytest.FixtureRequest, context: Context) -> FastAPI:
    made = make_context("postgresql://nowhere", environment=request.param)
    made.state.started = True
    return make_app(replace(made, database=context.database), MODULES)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("accept", [BROWSER, "text/html", "*/*", "image/png"])
async def test_it_does_not_exist_outside_of_development(
    outside: FastAPI, context: Context, method: str, accept: str
) -> None:
    await service.deliver(context, SYSTEM, message())

    async def ask(client: Client, path: str) -> tuple[int, dict[str, str], Any]:
        answer = await client.request(method, path, headers={"Accept": accept})
        headers = {k: v for k, v in answer.headers.items() if k != "x-request-id"}
        body: dict[str, Any] = answer.json() if answer.content else {}
        headers.pop("content-length", None)
        return (
            answer.status_code,
            headers,
            {k: v for k, v in body.items() if k not in OF_THIS_REQUEST},
        )

    async with Client(outside) as client:
        status, headers, body = await ask(client, URL)
        assert status == 404
        for path in (f"{URL}/", f"{URL}?to=x&to=y", "/dev/nowhere", "/nowhere"):
            assert await ask(client, path) == (status, headers, body)


def test_no_document_names_it(app: FastAPI, outside: FastAPI) -> None:
    for each in (app, outside):
        assert not [path for path in each.openapi()["paths"] if "mailbox" in path]


async def test_it_is_not_limited(database_url: str) -> None:
    context = make_context(database_url, rate_limit_enabled=True, rate_limit_default="2/minute")
    context.state.started = True
    app = make_app(context)
    try:
        async with Client(app) as client:
            answers = [await client.get("/api/v1/articles") for _ in range(3)]
            assert answers[-1].status_code == httpx.codes.TOO_MANY_REQUESTS
            for _ in range(5):
                assert (await client.get(URL)).status_code == 200
                assert (await client.delete(URL)).status_code == 204
    finally:
        await context.database.close()
