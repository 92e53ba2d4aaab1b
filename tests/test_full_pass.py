"""One test of everything that depends on PostgreSQL, run on its other versions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psycopg
import pytest

from backend.core.context import Context
from backend.core.principal import SYSTEM
from backend.modules.audit import service as audit
from backend.modules.audit.sealing import seal_waiting
from backend.worker.supervisor import work
from tests.actors import Actor, ActorFactory, Client
from tests.applications import MODULES, make_context
from tests.mails import token_of
from tests.pages import walk
from tests.samples import sample
from tests.worker_harness import FAST_CONFIG

API = "/api/v1"
PERSON = {"email": "ada@example.com", "username": "ada", "password": "correct horse battery"}


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[None]:
    """Run `backend worker` on a database that another context serves."""
    stopping = asyncio.Event()
    working = asyncio.create_task(work(make_context(url), MODULES, stopping, config=FAST_CONFIG))
    yield
    stopping.set()
    await working


async def mailed(client: Client, to: str) -> dict[str, Any]:
    """Return the newest mail to this address, once a worker has sent it."""
    for _ in range(400):
        if found := (await client.get("/dev/mailbox", params={"to": to})).json()["data"]:
            mail: dict[str, Any] = found[0]
            return mail
        await asyncio.sleep(0.05)
    raise AssertionError("no mail came")


async def page(caller: Actor, path: str, **parameters: Any) -> dict[str, Any]:
    answer = await caller.get(f"{API}{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_an_account_from_registration_to_its_end(
    client: Client, context: Context, database_url: str
) -> None:
    sample("accounts.manifest")  # which has the routes of registration and recovery
    async with worker(database_url):
        registered = await client.post(f"{API}/auth/register", json=PERSON)
        assert registered.status_code == 201, registered.text
        token = token_of(await mailed(client, PERSON["email"]))
        verified = await client.post(f"{API}/auth/verify-email", json={"token": token})
        assert verified.status_code == 204
        credentials = {"email": PERSON["username"], "password": PERSON["password"]}
        tokens = (await client.post(f"{API}/auth/login", json=credentials)).json()
        body = {"refresh_token": tokens["refresh_token"]}
        refreshed = await asyncio.gather(
            *(client.post(f"{API}/auth/refresh", json=body) for _ in range(5))
        )
        assert len({answer.json()["refresh_token"] for answer in refreshed}) == 1
        bearer = {"Authorization": f"Bearer {refreshed[0].json()['access_token']}"}
        me = await client.get(f"{API}/users/me", headers=bearer)
        assert me.json()["is_verified"] is True
        gone = await client.delete(f"{API}/users/me", headers=bearer)
        assert gone.status_code == 204, gone.text
        assert (await client.get(f"{API}/users/me", headers=bearer)).status_code == 401


async def test_lists_sort_page_filter_and_count(ada: Actor, admin: Actor) -> None:
    titles = ["Äpfel", "apples", "Zebra", "50%", "under_score", "éclair", "🍏"]
    for each in titles:
        made = await ada.post(f"{API}/items", json={"title": each})
        assert made.status_code == 201, made.text
    for sort in ("title", "-title", "created_at", "-created_at,title"):
        rows = await walk(partial(page, ada, "/items"), sort=sort, limit=2)
        assert len(rows) == len(titles)
        assert [each["id"] for each in rows] == [
            each["id"] for each in (await page(ada, "/items", sort=sort))["data"]
        ]
    by_title = (await page(ada, "/items", sort="title", total="true", fields="title"))["data"]
    # By code point, in every version.
    assert [each["title"] for each in by_title] == sorted(titles)
    assert (await page(ada, "/items", total="true", limit=1))["total"] == len(titles)
    for q, expected in (("ÄPFEL", "Äpfel"), ("%", "50%"), ("R_S", "under_score"), ("🍏", "🍏")):
        found = await page(ada, "/items", q=q)
        assert [each["title"] for each in found["data"]] == [expected]
    users = await page(admin, "/users", q="ada@", role="member", is_active="true")
    assert [each["username"] for each in users["data"]] == ["ada"]


async def test_articles_are_found_by_their_words(ada: Actor, client: Client) -> None:
    for title, content in (("Engines", "Weaving algebraic patterns"), ("Notes", "Of the engine")):
        made = await ada.post(f"{API}/articles", json={"title": title, "content": content})
        assert (await ada.post(f"{made.headers['location']}/publish")).status_code == 200
    for q, expected in (
        ("engine", ["Engines", "Notes"]),
        ("WEAVE -note", ["Engines"]),
        ('"algebraic pattern" or nothing', ["Engines"]),
    ):
        answer = await client.get(f"{API}/articles", params={"q": q})
        assert [each["title"] for each in answer.json()["data"]] == expected


async def test_the_record_is_written_sealed_and_kept(
    admin: Actor, ada: Actor, context: Context, database_url: str
) -> None:
    item = await ada.post(f"{API}/items", json={"title": "Mine"})
    assert (await ada.delete(item.headers["location"])).status_code == 204
    assert (await ada.get(f"{API}/users")).status_code == 403
    rows = await walk(partial(page, admin, "/audit-events"), limit=2)
    assert {"item.delete", "access.denied"} <= {each["action"] for each in rows}
    await seal_waiting(context)
    verdict = await audit.verify(context, SYSTEM)
    assert (list(verdict.findings), verdict.waiting, verdict.events) == ([], 0, len(rows))
    with psycopg.connect(database_url, autocommit=True) as connection:
        for change in ("UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events"):
            with pytest.raises(psycopg.DatabaseError, match="append-only"):
                connection.execute(change)


async def test_limits_hold_in_postgresql(
    ada: Actor, actor: ActorFactory, database_url: str
) -> None:
    limited = make_context(
        database_url,
        rate_limit_enabled=True,
        rate_limit_storage="postgres",
        rate_limit_default="5/minute",
    )
    limited.state.started = True
    actor.app.state.context = limited
    answers = await asyncio.gather(*(ada.get(f"{API}/users/me") for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 7
    wrong = {"email": ada.email, "password": "a wrong password"}
    guesses = [(await ada.post(f"{API}/auth/login", json=wrong)).status_code for _ in range(7)]
    assert guesses == [401] * 5 + [429] * 2
    await limited.database.close()
