"""Mails are limited per recipient, and one client cannot exhaust the mails of others."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from backend.core.context import Context
from backend.modules.accounts import jobs
from backend.modules.accounts.jobs import MAIL_LINK
from backend.modules.accounts.mail_limits import MAILS, shared_mailbox
from backend.modules.users.administration import MAILED_LINKS
from tests.actors import PASSWORD, Actor, Client
from tests.mails import token_of
from tests.modules.accounts.post import (
    FORGOT,
    LOGIN,
    ME,
    REGISTER,
    REQUEST,
    Post,
    assert_token_invalid,
)

SUE = "sue@example.com"
USERS = "/api/v1/users"


@pytest.fixture(autouse=True)
def limited(post: Post) -> None:
    configure(post)


def configure(post: Post, **settings: Any) -> None:
    # The default limit is too high to be reached.
    post.configure(
        rate_limit_enabled=True,
        rate_limit_default="100000/minute",
        **settings,
    )


async def ask(post: Post, path: str, email: str, client: str = "192.0.2.1", **more: Any) -> int:
    async with Client(post.app, address=client) as caller:
        return (await caller.post(path, json={"email": email, **more})).status_code


async def register(post: Post, email: str, client: str = "192.0.2.1", **more: Any) -> int:
    return await ask(post, REGISTER, email, client, password=PASSWORD, **more)


async def account(post: Post, email: str = SUE, *, verified: bool = False) -> None:
    """Register an account whose first mails no longer count."""
    assert await register(post, email, client="203.0.113.1") == 201
    await post.mails()
    await post.empty()
    post.sql("UPDATE mailed_tokens SET mailed_at = mailed_at - interval '1 hour'")
    if verified:
        post.sql("UPDATE users SET is_verified = true WHERE email = %s", email)


@asynccontextmanager
async def signed_in(post: Post, email: str) -> AsyncIterator[Client]:
    """Register an account and sign in, from an address of its own."""
    address = f"192.0.2.{zlib.crc32(email.encode()) % 250 + 2}"
    assert await register(post, email, client=address) == 201
    async with Client(post.app, address=address) as caller:
        answer = await caller.post(LOGIN, json={"email": email, "password": PASSWORD})
        caller.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield caller


async def sent(post: Post, *, to: str = "") -> int:
    return sum(to in mail["to"] for mail in await post.mails())


@pytest.mark.parametrize("path", [FORGOT, REQUEST])
@pytest.mark.parametrize("spelling", ["\u017fue@example.com", "SUE@EXAMPLE.COM", SUE])
async def test_a_stranger_who_asks_before_there_is_an_account_uses_nothing_up(
    post: Post, path: str, spelling: str
) -> None:
    for _ in range(MAILS.limit + 1):
        assert await ask(post, path, spelling) == 202
    assert await post.mails() == []
    await account(post)
    assert await ask(post, path, SUE, client="192.0.2.2") == 202
    assert await sent(post, to=SUE) == 1


async def test_other_addresses_of_the_mailbox_use_up_nobodys_recovery(post: Post) -> None:
    await account(post)
    for number in range(8):
        assert await ask(post, FORGOT, f"sue+{number}@example.com") == 202
    assert await ask(post, FORGOT, SUE, client="192.0.2.2") == 202
    assert await sent(post) == 1


async def test_refused_registrations_use_up_no_verification(post: Post, ada: Actor) -> None:
    for _ in range(MAILS.limit):
        assert await register(post, SUE, username=ada.username) == 409
    assert await register(post, SUE, client="192.0.2.2") == 201
    assert await sent(post, to=SUE) == 1


async def test_strict_registrations_use_up_no_recovery(post: Post) -> None:
    await account(post, verified=True)
    configure(post, registration_mode="strict")
    for _ in range(MAILS.limit + 2):
        assert await register(post, "\u017fue@example.com") == 202
        await post.mails()
    assert await sent(post) == MAILS.limit, "notices of an existing account"
    await post.empty()
    assert await ask(post, FORGOT, SUE) == 202
    assert await sent(post) == 1


@pytest.mark.parametrize("verified_first", [False, True])
async def test_registrations_with_a_taken_username_use_up_no_link(
    post: Post, ada: Actor, verified_first: bool
) -> None:
    configure(post, registration_mode="strict", require_verified_email=verified_first)
    for _ in range(5):
        assert await register(post, SUE, username="ada") == 202
        await post.mails()
    assert await sent(post) == MAILS.limit
    await post.empty()
    assert await register(post, SUE, client="198.51.100.1") == 202
    assert (await post.verify(await post.token(SUE))).status_code == 204
    assert await post.signs_in(SUE, PASSWORD)


async def test_a_link_that_does_not_leave_kills_none(post: Post) -> None:
    await account(post)
    for number in range(MAILS.limit):
        assert await ask(post, FORGOT, SUE, client=f"192.0.2.{number}") == 202
        await post.mails()
    token = await post.token(SUE)
    for number in range(4):
        assert await ask(post, FORGOT, "\u017fue@example.com", client=f"198.51.100.{number}") == 202
    assert await sent(post) == MAILS.limit
    assert (await post.reset(token)).status_code == 204


async def test_a_wish_that_is_not_mailed_leaves_the_link_before(post: Post, ada: Actor) -> None:
    wish = {"email": SUE, "current_password": PASSWORD}
    for _ in range(MAILS.limit + 1):
        assert (await ada.patch(ME, json=wish)).status_code == 200
        await post.mails()
    assert await sent(post, to=SUE) == MAILS.limit
    assert (await post.verify(await post.token(SUE))).status_code == 204


async def test_after_an_hour_there_is_room_again(post: Post) -> None:
    await account(post)
    for _ in range(MAILS.limit + 1):
        await ask(post, FORGOT, SUE)
        await post.mails()
    post.sql("UPDATE mailed_tokens SET mailed_at = mailed_at - interval '1 hour'")
    await ask(post, FORGOT, SUE)
    assert await sent(post) == MAILS.limit + 1


async def test_a_job_that_runs_again_spends_nothing_again(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await account(post)
    for _ in range(MAILS.limit - 1):
        await ask(post, FORGOT, SUE)
        await post.mails()
    await ask(post, FORGOT, SUE)

    async def fail(*_: object) -> None:
        raise ConnectionError

    ((last,),) = post.sql(
        "SELECT id FROM mailed_tokens WHERE user_id IS NOT NULL ORDER BY created_at DESC LIMIT 1"
    )
    with monkeypatch.context() as broken:
        # Fails after the transaction that has spent the budget.
        broken.setattr(jobs, "deliver", fail)
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await MAIL_LINK.run(post.context, token_id=str(last))
    # The budget is used up, but this mail was already counted.
    assert await sent(post) == MAILS.limit
    assert (await post.reset(await post.token(SUE))).status_code == 204


async def test_jobs_that_run_at_once_do_not_spend_more_than_there_is(post: Post) -> None:
    for number in range(8):
        assert await register(post, f"sue+{number}@example.com") == 201
    ids = post.sql("SELECT id FROM mailed_tokens")
    await asyncio.gather(*(MAIL_LINK.run(post.context, token_id=str(id)) for (id,) in ids))
    assert await sent(post) == MAILS.limit


@pytest.mark.parametrize("mode", ["open", "strict"])
@pytest.mark.slow
async def test_registrations_do_not_fill_a_mailbox(post: Post, mode: str) -> None:
    configure(post, registration_mode=mode)
    # Each registration comes from another client.
    for number in range(40):
        assert await register(post, f"Sue+{number}@example.com", f"192.0.2.{number}") in (201, 202)
    assert await sent(post) == MAILS.limit
    # Addresses of other users, and the one without a tag, have budgets of their own.
    for email in ("tim+1@example.com", "sue+1@example.org", SUE):
        await register(post, email, client="198.51.100.1")
    assert await sent(post) == MAILS.limit + 3


@pytest.mark.slow
async def test_accounts_that_nobody_verified_do_not_fill_a_mailbox(post: Post) -> None:
    for number in range(6):
        await account(post, f"sue+{number}@example.com")
    await account(post, "sue+own@example.com", verified=True)
    for path in (FORGOT, REQUEST):
        for number in range(6):
            assert await ask(post, path, f"sue+{number}@example.com") == 202
    assert await sent(post) == 2 * MAILS.limit, "one budget for each kind of mail"
    await post.empty()
    assert await ask(post, FORGOT, "sue+own@example.com") == 202
    assert await sent(post) == 1


@pytest.mark.parametrize("email", [SUE, "sue+{}@example.com"])
async def test_accounts_that_come_and_go_do_not_fill_a_mailbox(post: Post, email: str) -> None:
    for number in range(5):
        async with signed_in(post, email.format(number)) as own:
            await post.mails()
            assert (await own.delete(ME)).status_code == 204
    assert await sent(post) == MAILS.limit


async def test_accounts_of_others_do_not_fill_a_mailbox_with_changes(post: Post) -> None:
    for number in range(5):
        async with signed_in(post, f"eve{number}@example.com") as own:
            body = {"email": SUE, "current_password": PASSWORD}
            assert (await own.patch(ME, json=body)).status_code == 200
            await post.mails()
            assert (await own.delete(ME)).status_code == 204
    assert await sent(post, to=SUE) == MAILS.limit


async def test_notices_of_an_account_that_nobody_verified_do_not_fill_a_mailbox(
    post: Post,
) -> None:
    for number in range(2):
        async with signed_in(post, SUE) as own:
            passwords = [PASSWORD, *(f"another {each} of mine" for each in range(3))]
            for current, new in pairwise(passwords):
                body = {"current_password": current, "new_password": new}
                assert (await own.put(f"{ME}/password", json=body)).status_code == 204
            for each in range(3):
                body = {"email": f"{number}.{each}@example.com", "current_password": new}
                assert (await own.patch(ME, json=body)).status_code == 200
            await post.mails()
            assert (await own.delete(ME)).status_code == 204
    mails = await post.mails(SUE)
    # One budget for each kind: links, changed passwords, changes of address.
    assert len(mails) == 2 + 2 * MAILS.limit


async def test_a_verified_owner_is_told_of_every_password(post: Post) -> None:
    async with signed_in(post, SUE) as own:
        assert (await post.verify(await post.token(SUE))).status_code == 204
        await post.empty()
        passwords = [PASSWORD, *(f"another {each} of mine" for each in range(5))]
        for current, new in pairwise(passwords):
            body = {"current_password": current, "new_password": new}
            assert (await own.put(f"{ME}/password", json=body)).status_code == 204
    assert await sent(post) == 5


@pytest.mark.slow
async def test_an_account_that_is_moved_back_and_forth_is_told_of_a_few_times(
    post: Post, ada: Actor, admin: Actor
) -> None:
    there, back = "countess@example.com", ada.email
    for email in [there, back] * 5:
        answer = await admin.patch(f"{USERS}/{ada.id}", json={"email": email})
        assert answer.status_code == 200
        await post.mails()
    mails = await post.mails()
    assert {mail["to"] for mail in mails[:2]} == {there, back}
    assert len(mails) == 2 * MAILS.limit, "one budget for each address"


async def test_an_invited_account_that_is_turned_off_and_on_is_mailed_a_few_times(
    post: Post, admin: Actor
) -> None:
    made = await admin.post(USERS, json={"email": SUE})
    for number in range(10):
        body = {"is_active": bool(number % 2)}
        answer = await admin.patch(f"{USERS}/{made.json()['id']}", json=body)
        assert answer.status_code == 200
        await post.mails()
    assert await sent(post) == MAILS.limit


async def test_registrations_count_for_their_client(post: Post) -> None:
    for number in range(MAILED_LINKS.limit):
        assert await register(post, f"a{number}@example.com", "2001:db8::1") == 201
    assert await register(post, "last@example.com", "2001:db8::2") == 429
    assert await ask(post, FORGOT, SUE, "2001:db8::3") == 429
    assert await register(post, "last@example.com", "2001:db8:0:1::1") == 201


@pytest.mark.slow
async def test_an_invitation_that_goes_back_and_forth_is_mailed_a_few_times(
    post: Post, admin: Actor
) -> None:
    made = await admin.post(USERS, json={"email": SUE})
    for number in range(20):
        email = SUE if number % 2 else "tim@example.com"
        answer = await admin.patch(f"{USERS}/{made.json()['id']}", json={"email": email})
        assert answer.status_code == 200
        await post.mails()
    mails = [mail for mail in await post.mails() if mail["links"]]
    assert len(mails) == MAILS.limit
    for mail in mails:
        assert_token_invalid(await post.reset(token_of(mail)))


async def test_invitations_count_for_the_client_and_for_who_invites(
    post: Post, admin: Actor
) -> None:
    made = await admin.post(USERS, json={"email": SUE})
    path = f"{USERS}/{made.json()['id']}"
    for number in range(1, MAILED_LINKS.limit):
        body = {"email": f"a{number}@example.com"}
        assert (await admin.post(USERS, json=body)).status_code == 201
    headers = {"Authorization": f"Bearer {admin.token}"}
    assert await ask(post, FORGOT, SUE, client="127.0.0.1") == 429
    async with Client(post.app, address="192.0.2.1", headers=headers) as elsewhere:
        body = {"email": "last@example.com"}
        refused = await elsewhere.post(USERS, json=body)
        assert (refused.status_code, refused.json()["error"]) == (429, "RATE_LIMITED")
        moved = await elsewhere.patch(path, json={"email": "tim@example.com"})
        assert moved.status_code == 429
        # These requests cause no mail.
        assert (await elsewhere.patch(path, json={"full_name": "Sue"})).status_code == 200
        made = await elsewhere.post(USERS, json={**body, "password": PASSWORD})
        assert made.status_code == 201


async def test_what_nobody_has_mailed_yet_opens_nothing(post: Post, context: Context) -> None:
    await account(post)
    await ask(post, FORGOT, SUE)
    token = await post.token(SUE)
    post.sql("UPDATE mailed_tokens SET mailed_at = NULL")
    assert_token_invalid(await post.reset(token))


@pytest.mark.parametrize(
    ("email", "mailbox"),
    [
        ("Sue+a@Example.com", SUE),
        ("\u017fue+a+b@example.com", SUE),
        (SUE, None),
        ("+a@example.com", None),
        ("sue@a+b.example", None),
    ],
)
def test_the_mailbox_of_an_address(email: str, mailbox: str | None) -> None:
    assert shared_mailbox(email) == mailbox


async def test_users_created_in_bulk_count_as_one_link(post: Post, admin: Actor) -> None:
    for number in range(MAILED_LINKS.limit):
        rows = [{"email": f"a{number}-{row}@example.com"} for row in range(2)]
        assert (await admin.post(f"{USERS}/bulk", json={"data": rows})).status_code == 201
    refused = await admin.post(f"{USERS}/bulk", json={"data": [{"email": SUE}]})
    assert refused.status_code == 429
