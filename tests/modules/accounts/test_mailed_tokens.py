"""Tokens in mails are valid once, for a limited time and one purpose, and never disclosed."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from backend.core.jobs import ORIGIN
from backend.modules.accounts.jobs import MAIL_LINK, PURGE_TOKENS
from backend.modules.accounts.mail_limits import MAILS
from backend.modules.accounts.tokens import LIFETIMES
from backend.modules.users.administration import MAILED_LINKS
from tests.actors import PASSWORD, Actor
from tests.modules.accounts.post import (
    FORGOT,
    ME,
    OWN,
    REQUEST,
    RESET,
    VERIFY,
    Post,
    assert_token_invalid,
)
from tests.statements import Statements

GRACE = "grace@example.com"
Ask = Callable[[Post, Actor, Actor], Awaitable[str]]


async def _verify(post: Post, ada: Actor, _: Actor) -> str:
    await post.client.post(REQUEST, json={"email": ada.email})
    return ada.email


async def _reset(post: Post, ada: Actor, _: Actor) -> str:
    await post.client.post(FORGOT, json={"email": ada.email})
    return ada.email


async def _email_change(post: Post, ada: Actor, _: Actor) -> str:
    body = {"email": "countess@example.com", "current_password": PASSWORD}
    await ada.patch(ME, json=body)
    return "countess@example.com"


async def _invitation(post: Post, _: Actor, admin: Actor) -> str:
    await admin.post("/api/v1/users", json={"email": GRACE})
    return GRACE


ASKS: dict[str, Ask] = {
    "verify": _verify,
    "reset": _reset,
    "email_change": _email_change,
    "invitation": _invitation,
}
every_purpose = pytest.mark.parametrize("purpose", ASKS)


async def use(post: Post, purpose: str, token: str) -> httpx.Response:
    return await (post.reset(token) if purpose in ("reset", "invitation") else post.verify(token))


async def misuse(post: Post, purpose: str, token: str) -> httpx.Response:
    return await (post.verify(token) if purpose in ("reset", "invitation") else post.reset(token))


@every_purpose
async def test_it_is_good_once_for_one_purpose(
    post: Post, ada: Actor, admin: Actor, purpose: str
) -> None:
    token = await post.token(await ASKS[purpose](post, ada, admin))
    assert_token_invalid(await misuse(post, purpose, token))
    assert (await use(post, purpose, token)).status_code == 204
    assert_token_invalid(await use(post, purpose, token))
    assert_token_invalid(await misuse(post, purpose, token))


@every_purpose
async def test_it_dies_in_its_time(post: Post, ada: Actor, admin: Actor, purpose: str) -> None:
    token = await post.token(await ASKS[purpose](post, ada, admin))
    ((lifetime,),) = post.sql(
        "SELECT expires_at - created_at FROM mailed_tokens"
        " WHERE ended_at IS DISTINCT FROM created_at AND purpose = %s",
        purpose,
    )
    assert lifetime == LIFETIMES[purpose]  # type: ignore[index]  # each purpose is a key
    age = "UPDATE mailed_tokens SET expires_at = now() + CAST(%s AS interval)"
    post.sql(age, "-1 second")
    assert_token_invalid(await use(post, purpose, token))
    post.sql(age, "1 minute")
    assert (await use(post, purpose, token)).status_code == 204


@every_purpose
async def test_a_newer_one_kills_it(post: Post, ada: Actor, admin: Actor, purpose: str) -> None:
    token = await post.token(await ASKS[purpose](post, ada, admin))
    if purpose == "invitation":
        return  # An account is created only once.
    newer = await post.token(await ASKS[purpose](post, ada, admin))
    assert_token_invalid(await use(post, purpose, token))
    assert (await use(post, purpose, newer)).status_code == 204


@every_purpose
async def test_parallel_uses_succeed_once(
    post: Post, ada: Actor, admin: Actor, purpose: str
) -> None:
    token = await post.token(await ASKS[purpose](post, ada, admin))
    answers = await asyncio.gather(*(use(post, purpose, token) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [204] + [400] * 5


@every_purpose
async def test_it_is_stored_nowhere(
    post: Post, ada: Actor, admin: Actor, purpose: str, log: list[Any]
) -> None:
    address = await ASKS[purpose](post, ada, admin)
    jobs = post.sql("SELECT task_name, args FROM procrastinate_jobs")
    token = await post.token(address)
    ids = [
        str(id)
        for (id,) in post.sql(
            "SELECT id FROM mailed_tokens WHERE ended_at IS DISTINCT FROM created_at"
        )
    ]
    assert jobs
    for _, arguments in jobs:
        assert arguments.keys() <= {"token_id", ORIGIN}
        assert arguments["token_id"] in ids
    await use(post, purpose, token)
    await post.mails()
    assert token not in str(log)
    for (table,) in post.sql(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'mailbox'"
    ):
        rows = str(post.sql(f"SELECT * FROM {table}"))  # noqa: S608  # table names from the catalog
        assert token not in rows, table
        assert OWN not in rows, table


@every_purpose
async def test_a_job_whose_token_died_while_it_waited_sends_nothing(
    post: Post, ada: Actor, admin: Actor, purpose: str
) -> None:
    address = await ASKS[purpose](post, ada, admin)
    post.sql("UPDATE mailed_tokens SET expires_at = now() - interval '1 second'")
    assert await post.mails(address) == []


@every_purpose
async def test_a_job_that_runs_twice_mails_once(
    post: Post, ada: Actor, admin: Actor, purpose: str
) -> None:
    address = await ASKS[purpose](post, ada, admin)
    mails = await post.mails(address)
    ((id,),) = post.sql("SELECT id FROM mailed_tokens WHERE ended_at IS DISTINCT FROM created_at")
    await MAIL_LINK.run(post.context, token_id=str(id))
    assert await post.mails(address) == mails
    assert (await use(post, purpose, await post.token(address))).status_code == 204
    await MAIL_LINK.run(post.context, token_id=str(id))


@every_purpose
async def test_a_job_of_the_key_before_says_the_same_token(
    post: Post, ada: Actor, admin: Actor, purpose: str
) -> None:
    address = await ASKS[purpose](post, ada, admin)
    post.change_key()
    token = await post.token(address)
    assert (await use(post, purpose, token)).status_code == 204


async def test_a_job_whose_key_is_gone_sends_nothing(post: Post, ada: Actor) -> None:
    await post.client.post(FORGOT, json={"email": ada.email})
    post.change_key(forget=True)
    assert await post.mails() == []


@pytest.mark.parametrize(
    "token",
    ["", "x", "x" * 43, "x" * 10_000, "é" * 43, "' OR 1=1 --", "../../etc/passwd", " ", "\u2028"],
    ids=repr,
)
@pytest.mark.parametrize("path", [RESET, VERIFY])
async def test_garbage_is_no_token(post: Post, path: str, token: str) -> None:
    body = {"token": token} if path == VERIFY else {"token": token, "new_password": OWN}
    assert_token_invalid(await post.client.post(path, json=body))


async def test_the_id_of_a_token_is_no_token(post: Post, ada: Actor) -> None:
    await post.client.post(FORGOT, json={"email": ada.email})
    await post.mails()
    ((id, digest),) = post.sql(
        "SELECT id, digest FROM mailed_tokens WHERE ended_at IS DISTINCT FROM created_at"
    )
    for text in (str(id), id.hex, digest.hex()):
        assert_token_invalid(await post.reset(text))


async def test_what_nobody_has_looked_at_yet_opens_nothing(post: Post, ada: Actor) -> None:
    await post.client.post(FORGOT, json={"email": ada.email})
    ((user_id, ended_at),) = post.sql(
        "SELECT user_id, ended_at FROM mailed_tokens WHERE ended_at IS DISTINCT FROM created_at"
    )
    assert user_id is ended_at is None
    await post.mails()
    ((user_id,),) = post.sql(
        "SELECT user_id FROM mailed_tokens WHERE ended_at IS DISTINCT FROM created_at"
    )
    assert str(user_id) == str(ada.id)


@pytest.mark.parametrize("path", [FORGOT, REQUEST])
async def test_every_address_is_answered_alike(
    post: Post, ada: Actor, bob: Actor, admin: Actor, path: str, statements: Statements
) -> None:
    await admin.patch(f"/api/v1/users/{bob.id}", json={"is_active": False})
    await admin.patch(f"/api/v1/users/{admin.id}", json={"is_verified": True})
    post.configure(rate_limit_enabled=True)
    seen = []
    for email in (ada.email, "unknown@example.com", bob.email, admin.email):
        statements.clear()
        answer = await post.client.post(path, json={"email": email})
        seen.append((answer.status_code, answer.content, sorted(statements)))
    assert seen[0][0] == 202
    assert seen[0][2], "no statements were observed"
    assert all(each == seen[0] for each in seen)
    await post.mails()
    assert (
        post.sql(
            "SELECT id FROM mailed_tokens"
            " WHERE ended_at IS DISTINCT FROM created_at AND user_id IS NULL"
        )
        == []
    )


@pytest.mark.parametrize("path", [FORGOT, REQUEST])
@pytest.mark.parametrize("email", ["", "ada", "ada@", 5, None, "a@b.c\nd"], ids=repr)
async def test_what_is_no_address_is_told(post: Post, path: str, email: Any) -> None:
    refused = await post.client.post(path, json={"email": email})
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == ["body.email"]


@pytest.mark.parametrize("path", [FORGOT, REQUEST])
async def test_one_mailbox_gets_only_so_many(post: Post, ada: Actor, path: str) -> None:
    post.configure(rate_limit_enabled=True)
    answers = set()
    for number in range(MAILS.limit + 3):
        email = ada.email if number % 2 else ada.email.upper()
        answer = await post.client.post(path, json={"email": email})
        answers.add((answer.status_code, answer.content))
        await post.mails()
    assert len(answers) == 1, "the answers differ"
    assert len(await post.mails()) == MAILS.limit


async def test_one_client_asks_only_so_often(post: Post) -> None:
    post.configure(rate_limit_enabled=True, rate_limit_default="1000/minute")
    for number in range(MAILED_LINKS.limit):
        path = FORGOT if number % 2 else REQUEST
        answer = await post.client.post(path, json={"email": f"a{number}@example.com"})
        assert answer.status_code == 202
    for path in (FORGOT, REQUEST):
        refused = await post.client.post(path, json={"email": "last@example.com"})
        assert (refused.status_code, refused.json()["error"]) == (429, "RATE_LIMITED")
        assert 0 < int(refused.headers["retry-after"]) <= MAILED_LINKS.window
    assert_token_invalid(await post.verify("x"))


async def test_old_tokens_are_forgotten(post: Post, ada: Actor, admin: Actor) -> None:
    for purpose in ("verify", "reset", "email_change"):
        await post.token(await ASKS[purpose](post, ada, admin))
    age = "UPDATE mailed_tokens SET expires_at = now() - CAST(%s AS interval) WHERE purpose = %s"
    post.sql(age, timedelta(hours=25), "verify")
    post.sql(age, timedelta(hours=1), "reset")
    await PURGE_TOKENS.run(post.context)
    left = post.sql(
        "SELECT purpose FROM mailed_tokens"
        " WHERE ended_at IS DISTINCT FROM created_at ORDER BY purpose"
    )
    assert left == [("email_change",), ("reset",)]
    assert (await ada.get(ME)).status_code == 200


async def test_every_mail_says_the_same_in_both_forms(post: Post, ada: Actor, admin: Actor) -> None:
    for ask in ASKS.values():
        await ask(post, ada, admin)
    mails = await post.mails()
    assert len(mails) == len(ASKS) + 1, "one mail per purpose, and the notice to the old address"
    for mail in mails:
        assert mail["subject"]
        assert "{{" not in mail["text"] + mail["html"]
        words = re.sub(r"<style.*?</style>|<[^>]+>", " ", mail["html"], flags=re.DOTALL)
        for link in mail["links"]:
            assert link in mail["text"]
            assert link in words, "the link must also be readable as text"
