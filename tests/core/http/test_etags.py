"""Entity tags and conditional requests of every single resource."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backend.core.authorization import public
from backend.core.context import Context
from backend.core.http.dependencies import Session
from backend.core.http.routing import Router
from backend.core.module import Module
from backend.core.schemas import Schema
from backend.modules.roles.models import Role
from tests.actors import BASE_URL, PASSWORD, Actor, ActorFactory, Client
from tests.applications import MODULES, make_app, make_context
from tests.declared import Change, Resource, operations_of, table
from tests.statements import Statements

API = "/api/v1"
STALE = '"another"'
ORIGIN = "https://app.example.com"


# The resources, and the body of each request that changes one of them.
RESOURCES: dict[str, Resource] = table("RESOURCES")
CHANGES: dict[str, Change] = table("CHANGES")
ROLE = RESOURCES["/roles/{name}"]
CACHED = {"cache-control": "private, no-cache", "vary": "Authorization, Cookie"}


def headers_of(answer: httpx.Response, *names: str) -> dict[str, str]:
    return {name: answer.headers[name] for name in (names or CACHED) if name in answer.headers}


def conditional(app: FastAPI, header: str) -> set[str]:
    """Return the operations, without prefix, that take this header."""
    return {
        f"{method.upper()} {path.removeprefix(API)}"
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        if any(each["name"] == header for each in operation.get("parameters", ()))
    }


async def send(actor: Actor, change: str, path: str, **headers: str) -> httpx.Response:
    method, _, template = change.partition(" ")
    action = template.rpartition("}")[2] if "}" in template else template[len("/users/me") :]
    body = CHANGES[change][1]
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if body and "files" in body else {"json": body}
    return await actor.client.request(method, f"{path}{action}", headers=sent, **content)


def test_the_tables_of_this_file_are_complete(app: FastAPI) -> None:
    listed = operations_of("RESOURCES")
    assert conditional(app, "If-None-Match") & listed == {f"GET {path}" for path in RESOURCES}
    assert conditional(app, "If-Match") & operations_of("CHANGES") == CHANGES.keys()


@pytest.mark.parametrize("path", RESOURCES)
async def test_a_resource_has_a_tag_of_the_whole(path: str, context: Context, admin: Actor) -> None:
    address = await RESOURCES[path](context, admin)
    whole = await admin.get(address)
    tag = whole.headers["etag"]
    assert re.fullmatch(r'"[\w-]{20,}"', tag)
    assert headers_of(whole) == CACHED
    member = next(iter(whole.json()))
    part = await admin.get(f"{address}?fields={member}")
    assert part.json() == {member: whole.json()[member]}
    assert (part.headers["etag"], headers_of(part)) == (tag, CACHED)
    head = await admin.head(address)
    assert (head.status_code, head.headers["etag"], head.content) == (200, tag, b"")


@pytest.mark.parametrize("path", RESOURCES)
async def test_a_client_that_has_it_gets_304(path: str, context: Context, admin: Actor) -> None:
    address = await RESOURCES[path](context, admin)
    whole = await admin.get(address)
    member, tag = next(iter(whole.json())), whole.headers["etag"]
    for sent in (tag, f"W/{tag}", "*", f'"a,b" , W/"c",{tag}', f',, "x",{tag},'):
        for method, query in (("GET", ""), ("HEAD", ""), ("GET", f"?fields={member}")):
            answer = await admin.request(method, address + query, headers={"If-None-Match": sent})
            assert (answer.status_code, answer.content) == (304, b""), sent
            assert headers_of(answer) == CACHED
            assert answer.headers["etag"] == tag
            assert "content-type" not in answer.headers
    lines = [("If-None-Match", STALE), ("If-None-Match", tag)]
    assert (await admin.get(address, headers=lines)).status_code == 304
    for sent in (STALE, 'W/"another"', tag.strip('"'), f"*, {tag}", f"{tag} {tag}", "", '"', "**"):
        answer = await admin.get(address, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.headers["etag"]) == (200, tag), sent


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_with_a_stale_tag_is_refused(
    change: str, context: Context, admin: Actor
) -> None:
    address = await CHANGES[change][0](context, admin)
    before = await admin.get(address)
    recorded = await events(context)
    tag = before.headers["etag"]
    for headers in (
        {"If_Match": STALE},
        {"If_Match": f"W/{tag}"},
        {"If_Match": tag.strip('"')},
        {"If_Match": f'{tag}, "'},
        {"If_Match": f"*, {tag}"},
        {"If_Match": ""},
        {"If_None_Match": "*"},
        {"If_None_Match": f"W/{tag}"},
        {"If_None_Match": "malformed"},
        {"If_Match": tag, "If_None_Match": tag},
    ):
        answer = await send(admin, change, address, **headers)
        assert answer.status_code == 412, (headers, answer.text)
        assert answer.json()["error"] == "PRECONDITION_FAILED"
        assert headers_of(answer, "cache-control", "etag") == {"cache-control": "no-store"}
    after = await admin.get(address)
    assert (after.headers["etag"], after.json()) == (tag, before.json())
    assert await events(context) == recorded


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_with_the_tag_is_made_and_has_the_next_tag(
    change: str, context: Context, admin: Actor, actor: ActorFactory
) -> None:
    await actor("backup", roles=("admin",))
    address = await CHANGES[change][0](context, admin)
    if change.endswith("/unpublish"):
        await admin.post(f"{address}/publish")
    tag = (await admin.get(address)).headers["etag"]
    answer = await send(admin, change, address, If_Match=tag)
    assert answer.status_code in (200, 204), answer.text
    if answer.status_code == 200:
        assert headers_of(answer) == CACHED
        assert answer.headers["etag"] != tag
        found = await admin.get(address)
        assert (found.headers["etag"], found.json()) == (answer.headers["etag"], answer.json())


async def test_preconditions_may_be_lists_in_several_lines(ada: Actor) -> None:
    address = (await ada.post(f"{API}/items", json={"title": "Tea"})).headers["location"]
    tag = (await ada.get(address)).headers["etag"]
    for sent in (
        {"If-Match": "*"},
        {"If-Match": f'"a,b" , {tag},'},
        [("If-Match", STALE), ("If-Match", tag)],
        {"If-None-Match": f"{STALE}, W/{STALE}"},
        {"If-Match": tag, "If-None-Match": STALE},
    ):
        answer = await ada.patch(address, json={}, headers=sent)
        assert (answer.status_code, answer.headers["etag"]) == (200, tag), sent


@pytest.mark.parametrize("path", ["/items", "/articles", "/users", "/roles"])
async def test_what_is_created_has_the_tag_of_its_address(path: str, admin: Actor) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/items": {"title": "Tea"},
        "/articles": {"title": "Tea"},
        "/users": {"email": "grace@example.com", "roles": ["viewer", "member"]},
        "/roles": {"name": "reader", "permissions": ["items:write", "items:read"]},
    }
    # There is no representation that the preconditions could be about.
    ignored = {"If-Match": STALE, "If-None-Match": "*"}
    answer = await admin.post(f"{API}{path}", json=bodies[path], headers=ignored)
    assert (answer.status_code, headers_of(answer)) == (201, CACHED)
    found = await admin.get(answer.headers["location"])
    assert (found.headers["etag"], found.json()) == (answer.headers["etag"], answer.json())


async def test_registering_has_the_tag_of_the_user_and_is_not_stored(
    client: Client, admin: Actor
) -> None:
    new = {"email": "grace@example.com", "password": PASSWORD}
    answer = await client.post(f"{API}/auth/register", json=new)
    assert headers_of(answer, "cache-control") == {"cache-control": "no-store"}
    found = await admin.get(answer.headers["location"])
    assert found.headers["etag"] == answer.headers["etag"]


async def test_roles_with_unlike_names_are_sorted_alike_everywhere(admin: Actor) -> None:
    names = ["a-b", "a_b", "ab", "aa"]
    for name in names:
        assert (await admin.post(f"{API}/roles", json={"name": name})).status_code == 201
    new = {"email": "grace@example.com", "roles": names}
    answer = await admin.post(f"{API}/users", json=new)
    assert answer.json()["roles"] == sorted(names)
    found = await admin.get(answer.headers["location"])
    assert found.headers["etag"] == answer.headers["etag"]


async def test_an_authors_name_is_part_of_the_tag_of_their_article(ada: Actor) -> None:
    made = await ada.post(f"{API}/articles", json={"title": "Tea"})
    address, tag = made.headers["location"], made.headers["etag"]
    assert (await ada.patch(f"{API}/users/me", json={"full_name": "Ada L"})).status_code == 200
    assert (await ada.get(address)).headers["etag"] != tag
    stale = await ada.patch(address, json={"title": "T"}, headers={"If-Match": tag})
    assert stale.status_code == 412


async def test_me_and_the_same_user_have_different_tags(ada: Actor) -> None:
    mine = (await ada.get(f"{API}/users/me")).headers["etag"]
    users = (await ada.get(f"{API}/users/{ada.id}")).headers["etag"]
    assert mine != users
    refused = await ada.patch(f"{API}/users/me", json={}, headers={"If-Match": users})
    assert refused.status_code == 412
    unchanged = await ada.patch(f"{API}/users/me", json={}, headers={"If-Match": mine})
    assert (unchanged.status_code, unchanged.headers["etag"]) == (200, mine)


async def test_rights_come_first_and_states_and_values_last(
    ada: Actor, bob: Actor, admin: Actor
) -> None:
    made = await ada.post(f"{API}/articles", json={"title": "Tea", "content": "Leaves."})
    address, stale = made.headers["location"], {"If-Match": STALE}
    assert (await bob.post(f"{address}/publish", headers=stale)).status_code == 404
    published = await ada.post(f"{address}/publish")
    assert published.status_code == 200
    assert (await bob.patch(address, json={}, headers=stale)).status_code == 403
    assert (await bob.post(f"{address}/publish", headers=stale)).status_code == 403
    assert (await ada.post(f"{address}/publish", headers=stale)).status_code == 412
    emptied = await ada.patch(address, json={"content": None}, headers=stale)
    assert emptied.status_code == 412
    fresh = {"If-Match": published.headers["etag"]}
    assert (await ada.post(f"{address}/publish", headers=fresh)).status_code == 409
    # No role, the last administrator, a taken name, a wrong password.
    roles = f"{API}/users/{admin.id}/roles"
    for wanted in ("nothing", "member"):
        body = {"roles": [wanted]}
        assert (await admin.put(roles, json=body, headers=stale)).status_code == 412
    for changes in (
        {"username": bob.username},
        {"email": bob.email, "current_password": PASSWORD},
        {"email": "new@example.com", "current_password": "wrong"},
    ):
        assert (await ada.patch(f"{API}/users/me", json=changes, headers=stale)).status_code == 412
    wrong = {"current_password": "wrong", "new_password": "long enough"}
    answer = await ada.put(f"{API}/users/me/password", json=wrong, headers=stale)
    assert answer.status_code == 412
    nothing = f"{API}/items/{ada.id}"
    assert (await ada.patch(nothing, json={}, headers={"If-Match": "*"})).status_code == 404


async def test_rights_that_depend_on_the_values_come_first_too(
    ada: Actor, admin: Actor, actor: ActorFactory
) -> None:
    for name, held in {
        "manager": ["users:write", "users:admin", "roles:write"],
        "clerk": ["users:write"],
    }.items():
        await admin.post(f"{API}/roles", json={"name": name, "permissions": held})
    manager, clerk = [await actor(name, roles=(name, "member")) for name in ("manager", "clerk")]
    stale = {"If-Match": STALE}
    user, role, own = f"{API}/users/{ada.id}", f"{API}/roles/clerk", f"{API}/users/{clerk.id}"
    is_verified = (await clerk.get(own)).json()["is_verified"]
    refused = [
        await manager.put(f"{user}/roles", json={"roles": ["admin"]}, headers=stale),
        await clerk.patch(user, json={"email": "new@example.com"}, headers=stale),
        await clerk.patch(own, json={"is_verified": not is_verified}, headers=stale),
        await manager.patch(role, json={"permissions": ["audit:read"]}, headers=stale),
    ]
    assert [answer.status_code for answer in refused] == [403] * 4
    # Values that nobody may send come after the precondition.
    values = [
        await manager.put(f"{user}/roles", json={"roles": ["nothing"]}, headers=stale),
        await clerk.patch(own, json={"email": "new@example.com"}, headers=stale),
        await manager.patch(role, json={"permissions": ["no:thing"]}, headers=stale),
    ]
    assert [answer.status_code for answer in values] == [412] * 3


async def test_lists_sessions_and_errors_are_not_stored(client: Client, ada: Actor) -> None:
    for path in ("/items", "/auth/sessions", "/articles", "/items/nothing"):
        answer = await ada.get(f"{API}{path}", headers={"If-None-Match": "*"})
        assert answer.status_code in (200, 404)
        assert headers_of(answer, "cache-control", "etag") == {"cache-control": "no-store"}
    answer = await ada.delete(f"{API}/auth/sessions/{ada.session_id}", headers={"If-Match": STALE})
    # A session has no representation of its own.
    assert answer.status_code == 204


async def test_one_list_of_vary_for_tags_and_origins(context: Context, ada: Actor) -> None:
    headers = {"Authorization": f"Bearer {ada.token}", "Origin": ORIGIN}
    async with Client(development_app(context), headers=headers) as page:
        answer = await page.get(f"{API}/users/me")
        assert answer.headers.get_list("vary") == ["Authorization, Cookie, Origin"]
        assert "ETag" in answer.headers["access-control-expose-headers"]
        again = await page.get(f"{API}/users/me", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["access-control-allow-origin"] == ORIGIN


async def test_a_conditional_get_repeats_the_csrf_token(context: Context, ada: Actor) -> None:
    app = make_app(context)
    async with Client(app) as page:
        sent = {"email": ada.email, "password": PASSWORD}
        await page.post(f"{API}/auth/login?transport=cookie", json=sent)
        first = await page.get(f"{API}/users/me")
        tag = first.headers["etag"]
        again = await page.get(f"{API}/users/me", headers={"If-None-Match": tag})
    assert again.status_code == 304
    assert again.headers["x-csrf-token"] == first.headers["x-csrf-token"]


async def test_without_preconditions_nothing_more_is_read(
    ada: Actor, statements: Statements
) -> None:
    made = await ada.post(f"{API}/articles", json={"title": "Tea"})
    statements.clear()
    await ada.patch(made.headers["location"], json={"title": "Coffee"})
    plain = len(statements)
    statements.clear()
    await ada.patch(made.headers["location"], json={"title": "Milk"}, headers={"If-Match": "*"})
    assert len(statements) == plain + 1


@pytest.mark.slow
async def test_a_hundred_parallel_increments_lose_none(app: FastAPI, ada: Actor) -> None:
    address = (await ada.post(f"{API}/items", json={"title": "0"})).headers["location"]
    chance = Random(7)  # noqa: S311  # reproducible choices
    # Without the checks of `Client`, which take longer than the requests.
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url=BASE_URL, headers=ada.client.headers
    ) as client:

        async def increment() -> int:
            for attempt in range(1000):
                found = await client.get(address)
                if found.status_code == 503:
                    await asyncio.sleep(chance.random())
                    continue
                title = str(int(found.json()["title"]) + 1)
                sent = {"If-Match": found.headers["etag"]}
                answer = await client.patch(address, json={"title": title}, headers=sent)
                if answer.status_code == 200:
                    return attempt
                # On a busy machine, the wait for a connection may be too long.
                assert answer.status_code in (412, 503), answer.text
                # As clients do; otherwise they need about 5,000 attempts.
                await asyncio.sleep(chance.random() * 0.1 * min(attempt + 1, 20))
            raise AssertionError("no attempt succeeded")

        attempts = await asyncio.gather(*(increment() for _ in range(100)))
    assert sum(attempts) > 0
    assert (await ada.get(address)).json()["title"] == "100"


@pytest.mark.parametrize("has_tag", [False, True])
async def test_of_two_publishers_one_succeeds(ada: Actor, context: Context, has_tag: bool) -> None:
    made = await ada.post(f"{API}/articles", json={"title": "Tea", "content": "Leaves."})
    address = made.headers["location"]
    headers = {"If-Match": made.headers["etag"]} if has_tag else {}
    answers = await asyncio.gather(
        *(ada.post(f"{address}/publish", headers=headers) for _ in range(2))
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 412 if has_tag else 409]
    assert (await events(context)).count("article.publish") == 1


class Cup(Schema):
    title: str


forgetful = Router(prefix="/made-cups", tags=["made_cups"], dependencies=[public])


@forgetful.get("/{title}")
async def read_cup(title: str) -> Cup:
    return Cup(title=title)


@forgetful.patch("/{title}")
async def change_cup(title: str, session: Session) -> Cup:
    session.add(Role(name=title, permissions=[]))
    return Cup(title=title)


@forgetful.post("/{title}/parts", status_code=201, location="/made-cups/{title}", idempotent=False)
async def add_part(title: str) -> Cup:
    return Cup(title=title)


async def test_a_route_that_forgets_the_check_changes_nothing(
    context: Context, admin: Actor
) -> None:
    modules = [*MODULES, Module("made_cups", forgetful)]
    async with Client(development_app(context, modules)) as client:
        answer = await client.patch(f"{API}/made-cups/blue", headers={"If-Match": "*"})
        assert answer.status_code == 500
        assert "change_cup ignores If-Match: its service must await" in answer.json()["detail"]
        assert (await admin.get(f"{API}/roles/blue")).status_code == 404
        assert (await client.patch(f"{API}/made-cups/blue")).status_code == 200
        made = await client.post(f"{API}/made-cups/blue/parts", headers={"If-Match": STALE})
        assert made.status_code == 201


def development_app(context: Context, modules: Sequence[Module] = MODULES) -> FastAPI:
    """Return an application of development, with an allowed origin, on this test's database."""
    other = make_context(
        "postgresql://127.0.0.1:1/none",
        environment="development",
        allowed_hosts=("testserver",),
        cors_origins=(ORIGIN,),
    )
    app = make_app(other, modules)
    app.state.context = replace(context, settings=other.settings)
    return app


async def events(context: Context) -> list[str]:
    async with context.database.transaction() as session:
        found = await (await session.connection()).execute(text("SELECT action FROM audit_events"))
        return [action for (action,) in found]
