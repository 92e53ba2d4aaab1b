"""A mailed link resets a forgotten password."""

import asyncio
from typing import Any

import pytest

from tests.actors import PASSWORD, Actor, Client
from tests.mails import token_of
from tests.modules.accounts.post import (
    FORGOT,
    FRONTEND,
    LOGIN,
    ME,
    OWN,
    Post,
    assert_token_invalid,
)


async def forget(post: Post, email: str) -> None:
    answer = await post.client.post(FORGOT, json={"email": email})
    assert answer.status_code == 202


async def test_from_the_forgotten_password_to_a_new_one(post: Post, ada: Actor) -> None:
    await forget(post, "ADA@example.com")
    mail = await post.one("ada@example.com")
    assert mail["links"] == [f"{FRONTEND}/reset-password#token={token_of(mail)}"]
    assert "60 minutes" in mail["text"]
    answer = await post.reset(token_of(mail))
    assert answer.status_code == 204
    assert await post.signs_in("ada", OWN)
    assert not await post.signs_in("ada", PASSWORD)
    assert_token_invalid(await post.reset(token_of(mail), "still another one"))
    assert await post.signs_in("ada", OWN)


async def test_a_reset_ends_all_sessions_and_verifies_the_address(
    post: Post, ada: Actor, bob: Actor, admin: Actor
) -> None:
    assert (await ada.get(ME)).json()["is_verified"] is False
    await forget(post, ada.email)
    await post.reset(await post.token(ada.email))
    over = await ada.get(ME)
    assert (over.status_code, over.json()["error"]) == (401, "INVALID_TOKEN")
    assert (await bob.get(ME)).status_code == 200
    account = (await admin.get(f"/api/v1/users/{ada.id}")).json()
    assert account["is_verified"] is True


async def test_the_owner_is_told_and_it_is_on_record(post: Post, ada: Actor) -> None:
    await forget(post, ada.email)
    await post.reset(await post.token(ada.email))
    _, notice = await post.mails(ada.email)
    assert notice["subject"] == "Trellis: Your password has been changed"
    assert notice["links"] == []
    ((actor, target, outcome, _),) = post.audited("auth.password_reset")
    assert (str(actor), target, outcome) == (str(ada.id), str(ada.id), "success")


@pytest.mark.parametrize(
    "password", ["password", "seven77", "ada@example.com", "ADA@example.com", "x" * 129, ""]
)
async def test_a_refused_password_does_not_use_the_token_up(
    post: Post, ada: Actor, password: str
) -> None:
    await forget(post, ada.email)
    token = await post.token(ada.email)
    refused = await post.reset(token, password)
    assert (refused.status_code, refused.json()["error"]) == (422, "VALIDATION_ERROR")
    assert [each["field"] for each in refused.json()["errors"]] == ["body.new_password"]
    assert (await post.reset(token)).status_code == 204


async def test_of_many_parallel_uses_exactly_one_succeeds(post: Post, ada: Actor) -> None:
    await forget(post, ada.email)
    token = await post.token(ada.email)
    passwords = [f"a password of number {number}" for number in range(8)]
    answers = await asyncio.gather(*(post.reset(token, each) for each in passwords))
    assert sorted(answer.status_code for answer in answers) == [204] + [400] * 7
    good = [
        password
        for password, answer in zip(passwords, answers, strict=True)
        if answer.status_code == 204
    ]
    for password in passwords:
        assert await post.signs_in("ada", password) == (password in good)
    assert len(post.audited("auth.password_reset")) == 1


async def test_a_newer_token_kills_the_older(post: Post, ada: Actor) -> None:
    await forget(post, ada.email)
    first = await post.token(ada.email)
    await forget(post, ada.email)
    second = await post.token(ada.email)
    assert first != second
    assert_token_invalid(await post.reset(first))
    assert (await post.reset(second)).status_code == 204


async def test_of_requests_that_wait_for_a_worker_the_newest_counts(post: Post, ada: Actor) -> None:
    for _ in range(3):
        await forget(post, ada.email)
    # Workers may run the jobs in any order.
    post.sql("UPDATE procrastinate_jobs SET priority = id")
    mails = await post.mails(ada.email)
    assert len(mails) == 1
    assert (await post.reset(token_of(mails[0]))).status_code == 204


@pytest.mark.parametrize("change", ["password", "address"])
async def test_a_token_dies_with_what_it_was_issued_for(
    post: Post, ada: Actor, admin: Actor, change: str
) -> None:
    await forget(post, ada.email)
    token = await post.token(ada.email)
    if change == "password":
        body = {"current_password": PASSWORD, "new_password": OWN}
        assert (await ada.put(f"{ME}/password", json=body)).status_code == 204
    else:
        body = {"email": "countess@example.com"}
        assert (await admin.patch(f"/api/v1/users/{ada.id}", json=body)).status_code == 200
    assert_token_invalid(await post.reset(token, "one more password"))
    assert not await post.signs_in("ada", "one more password")


async def test_a_password_renewed_at_sign_in_leaves_others_tokens_alone(
    post: Post, ada: Actor, bob: Actor
) -> None:
    await forget(post, ada.email)
    token = await post.token(ada.email)
    assert await post.signs_in("bob", PASSWORD)
    assert (await post.reset(token)).status_code == 204
    assert (await bob.get(ME)).status_code == 200


async def test_a_token_of_a_deleted_account(post: Post, ada: Actor) -> None:
    await forget(post, ada.email)
    token = await post.token(ada.email)
    assert (await ada.delete(ME)).status_code == 204
    assert_token_invalid(await post.reset(token))
    assert post.sql("SELECT id FROM mailed_tokens WHERE ended_at IS DISTINCT FROM created_at") == []


async def test_a_disabled_account_gets_no_mail_and_stays_disabled(
    post: Post, ada: Actor, admin: Actor
) -> None:
    await forget(post, ada.email)
    token = await post.token(ada.email)
    where = f"/api/v1/users/{ada.id}"
    assert (await admin.patch(where, json={"is_active": False})).status_code == 200
    await forget(post, ada.email)
    assert len(await post.mails(ada.email)) == 1
    assert (await post.reset(token)).status_code == 204
    assert (await admin.get(where)).json()["is_active"] is False
    refused = await post.client.post(LOGIN, json={"email": "ada", "password": OWN})
    assert (refused.status_code, refused.json()["error"]) == (403, "ACCOUNT_DISABLED")


async def test_an_account_disabled_before_the_job_runs_gets_no_mail(
    post: Post, ada: Actor, admin: Actor
) -> None:
    await forget(post, ada.email)
    await admin.patch(f"/api/v1/users/{ada.id}", json={"is_active": False})
    assert await post.mails() == []


async def test_a_reset_lifts_the_lock_after_too_many_guesses(post: Post, ada: Actor) -> None:
    post.configure(rate_limit_enabled=True)

    async def sign_in(password: str) -> int:
        answer = await post.client.post(LOGIN, json={"email": "ada", "password": password})
        return answer.status_code

    statuses = [await sign_in("not the right one") for _ in range(6)]
    assert statuses[-1] == 429
    assert await sign_in(PASSWORD) == 429
    await forget(post, ada.email)
    assert (await post.reset(await post.token(ada.email))).status_code == 204
    assert await sign_in(OWN) == 200


async def test_yesterdays_credentials_do_not_stand_in_the_way(post: Post, client: Client) -> None:
    # The client may still send the cookie or token of a session that ended long ago.
    headers: dict[str, Any] = {"Authorization": "Bearer broken", "Cookie": "access_token=broken"}
    for path, body, status in (
        (FORGOT, {"email": "ada@example.com"}, 202),
        (FORGOT.replace("forgot", "reset"), {"token": "x", "new_password": OWN}, 400),
        ("/api/v1/auth/verify-email/request", {"email": "ada@example.com"}, 202),
        ("/api/v1/auth/verify-email", {"token": "x"}, 400),
    ):
        answer = await client.post(path, json=body, headers=headers)
        assert answer.status_code == status, path
