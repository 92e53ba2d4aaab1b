"""An administrator changes an account's address: permissions, ended sessions, notifications."""

from typing import Any

import httpx
import psycopg
import pytest

from backend.core.context import Context
from backend.core.jobs import ORIGIN
from tests.actors import PASSWORD, Actor, ActorFactory
from tests.modules.accounts.post import FORGOT, LOGIN, ME, REQUEST, Post, assert_token_invalid
from tests.modules.users.test_accounts import role

USERS = "/api/v1/users"
NEW = "taken-over@example.com"
GRACE = "grace@example.com"
CLERK = ("users:read", "users:write")
DENIED = (403, "PERMISSION_DENIED")


async def move(by: Actor, user_id: Any, email: str, **members: Any) -> httpx.Response:
    answer: httpx.Response = await by.patch(f"{USERS}/{user_id}", json={"email": email, **members})
    return answer


@pytest.mark.parametrize("email", [NEW, "ADA@example.com", "ada+x@example.com"])
@pytest.mark.parametrize("members", [{}, {"is_verified": True}, {"is_active": False}], ids=repr)
async def test_without_users_admin_nobody_moves_an_account(
    post: Post,
    actor: ActorFactory,
    context: Context,
    ada: Actor,
    email: str,
    members: dict[str, Any],
) -> None:
    await role(context, "clerk", *CLERK)
    clerk = await actor("clara", roles=("clerk", "member"))
    before = (await clerk.get(f"{USERS}/{ada.id}")).json()
    refused = await move(clerk, ada.id, email, **members)
    assert (refused.status_code, refused.json()["error"]) == DENIED
    assert (await clerk.get(f"{USERS}/{ada.id}")).json() == before
    assert (await ada.get(ME)).status_code == 200
    assert await post.mails() == []


async def test_what_users_write_is_enough_for(
    actor: ActorFactory, context: Context, ada: Actor, admin: Actor
) -> None:
    await role(context, "clerk", *CLERK)
    clerk = await actor("clara", roles=("clerk", "member"))
    # Forms also send values that they do not change.
    same = {"full_name": "Ada", "username": "countess", "is_verified": True, "is_active": True}
    kept = await move(clerk, ada.id, ada.email, **same)
    assert (kept.status_code, kept.json()["full_name"]) == (200, "Ada")
    assert (await ada.get(ME)).status_code == 200
    # Users change their own address on another route, which requires the password.
    own = await move(clerk, clerk.id, NEW)
    assert (own.status_code, own.json()["errors"][0]["code"]) == (422, "own_email")
    # The address of an account with more permissions is protected like its other fields.
    refused = await move(clerk, admin.id, admin.email)
    assert (refused.status_code, refused.json()["error"]) == DENIED


async def test_an_invitation_is_not_diverted(
    post: Post, actor: ActorFactory, context: Context, admin: Actor
) -> None:
    await role(context, "clerk", *CLERK)
    clerk = await actor("clara", roles=("clerk", "member"))
    invited = (await admin.post(USERS, json={"email": GRACE})).json()
    token = await post.token(GRACE)
    refused = await move(clerk, invited["id"], NEW)
    assert (refused.status_code, refused.json()["error"]) == DENIED
    assert await post.mails(NEW) == []
    assert (await post.reset(token)).status_code == 204


@pytest.mark.parametrize("email", [NEW, "ADA@example.com"])
async def test_a_move_ends_everything_and_is_told_to_both(
    post: Post, actor: ActorFactory, context: Context, ada: Actor, email: str
) -> None:
    await role(context, "registrar", *CLERK, "users:admin")
    registrar = await actor("rita", roles=("registrar", "member"))
    former, browser = ada.email, {"email": "ada", "password": PASSWORD}
    other = (await post.client.post(LOGIN, json=browser)).json()
    moved = await move(registrar, ada.id, email)
    assert (moved.status_code, moved.json()["email"]) == (200, email)
    assert moved.json()["is_verified"] is False
    assert (await ada.get(ME)).status_code == 401
    refreshed = await post.client.post(
        "/api/v1/auth/refresh", json={"refresh_token": other["refresh_token"]}
    )
    assert refreshed.status_code == 401
    assert (await registrar.get(ME)).status_code == 200, "the caller's own sessions must not end"
    notices = {(mail["to"], mail["subject"]): mail for mail in await post.mails()}
    assert set(notices) == {
        (former, "Trellis: Your account has another e-mail address now"),
        (email, "Trellis: This is the e-mail address of your account now"),
    }
    for mail in notices.values():
        assert mail["links"] == []
        assert "{{" not in mail["text"] + mail["html"]
        other_address = {former, email} - {mail["to"]}
        assert not any(each in mail["text"] + mail["html"] for each in other_address)
    # The password is unchanged.
    assert await post.signs_in(email, PASSWORD)


async def test_a_disabled_account_is_not_moved_in_silence(
    post: Post, admin: Actor, ada: Actor
) -> None:
    await admin.patch(f"{USERS}/{ada.id}", json={"is_active": False})
    assert (await move(admin, ada.id, NEW)).status_code == 200
    assert sorted(mail["to"] for mail in await post.mails()) == [ada.email, NEW]


async def test_what_is_rolled_back_is_not_told(post: Post, admin: Actor, ada: Actor) -> None:
    assert (await move(admin, ada.id, NEW, username="ROOT")).status_code == 409
    assert (await ada.get(ME)).json()["email"] == ada.email
    assert await post.mails() == []


async def test_an_invited_person_is_invited_at_the_new_address(post: Post, admin: Actor) -> None:
    invited = (await admin.post(USERS, json={"email": GRACE})).json()
    old = await post.token(GRACE)
    assert (await move(admin, invited["id"], NEW)).status_code == 200
    assert [mail["subject"] for mail in await post.mails(NEW)] == ["Trellis: You have been invited"]
    assert (await post.mails(GRACE))[-1]["links"] == []
    assert_token_invalid(await post.reset(old))
    assert (await post.reset(await post.token(NEW))).status_code == 204


async def tokens_of(post: Post, ada: Actor) -> dict[str, str]:
    """Return a valid mailed token of each purpose that an account with a password can have."""
    tokens = {}
    for purpose, path in (("reset", FORGOT), ("verify", REQUEST)):
        await post.client.post(path, json={"email": ada.email})
        tokens[purpose] = await post.token(ada.email)
    wish = {"email": "wish@example.com", "current_password": PASSWORD}
    assert (await ada.patch(ME, json=wish)).status_code == 200
    tokens["email_change"] = await post.token("wish@example.com")
    return tokens


async def assert_all_dead(post: Post, tokens: dict[str, str]) -> None:
    for purpose, token in tokens.items():
        use = post.reset if purpose in ("reset", "invitation") else post.verify
        assert_token_invalid(await use(token))


async def test_tokens_stay_dead_when_an_administrator_changes_the_address_back(
    post: Post, admin: Actor, ada: Actor
) -> None:
    tokens = await tokens_of(post, ada)
    assert (await move(admin, ada.id, NEW)).status_code == 200
    await assert_all_dead(post, tokens)
    assert (await move(admin, ada.id, ada.email)).status_code == 200
    await assert_all_dead(post, tokens)
    assert await post.signs_in(ada.email, PASSWORD)


async def test_an_invitation_stays_dead_when_the_address_changes_back(
    post: Post, admin: Actor
) -> None:
    invited = (await admin.post(USERS, json={"email": GRACE})).json()
    first = await post.token(GRACE)
    assert (await move(admin, invited["id"], NEW)).status_code == 200
    second = await post.token(NEW)
    assert (await move(admin, invited["id"], GRACE)).status_code == 200
    await assert_all_dead(post, {"invitation": first})
    await assert_all_dead(post, {"invitation": second})
    assert (await post.reset(await post.token(GRACE))).status_code == 204


async def test_tokens_stay_dead_when_the_owner_changes_the_address_back(
    post: Post, ada: Actor
) -> None:
    tokens = await tokens_of(post, ada)
    assert (await post.verify(tokens.pop("email_change"))).status_code == 204
    await assert_all_dead(post, tokens)
    back = {"email": ada.email, "current_password": PASSWORD}
    assert (await ada.patch(ME, json=back)).status_code == 200
    assert (await post.verify(await post.token(ada.email))).status_code == 204
    assert (await ada.get(ME)).json()["email"] == ada.email
    await assert_all_dead(post, tokens)


async def test_a_wish_that_a_new_password_dropped_is_not_granted_later(
    post: Post, ada: Actor, database_url: str
) -> None:
    tokens = await tokens_of(post, ada)
    changed = {"current_password": PASSWORD, "new_password": "a password of my own"}
    assert (await ada.put(f"{ME}/password", json=changed)).status_code == 204
    await assert_all_dead(post, {"email_change": tokens["email_change"]})
    # The token stays invalid even if the account requests the same address again.
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("UPDATE users SET pending_email = 'wish@example.com'")
    await assert_all_dead(post, {"email_change": tokens["email_change"]})


async def test_a_mail_that_had_to_wait_brings_no_link_to_the_former_address(
    post: Post, admin: Actor, ada: Actor
) -> None:
    for path in (FORGOT, REQUEST):
        await post.client.post(path, json={"email": ada.email})
    assert (await move(admin, ada.id, NEW)).status_code == 200
    assert [mail["links"] for mail in await post.mails()] == [[], []]


async def test_a_move_is_on_record_without_the_addresses(
    post: Post, admin: Actor, ada: Actor
) -> None:
    assert (await move(admin, ada.id, NEW, is_verified=True)).status_code == 200
    actor, target, outcome, changes = post.audited("user.update")[-1]
    assert (str(actor), target, outcome) == (str(admin.id), str(ada.id), "success")
    assert changes == {"email": {"changed": True}, "is_verified": {"old": False, "new": True}}
    jobs = post.sql("SELECT args FROM procrastinate_jobs")
    assert len(jobs) == 2
    assert all(arguments.keys() <= {"token_id", ORIGIN} for (arguments,) in jobs)


async def test_who_takes_an_account_over_reads_nothing(
    post: Post, actor: ActorFactory, context: Context, ada: Actor
) -> None:
    """The attack: move the account, request a new password, sign in, read private data."""
    await role(context, "clerk", *CLERK)
    clerk = await actor("clara", roles=("clerk", "member"))
    assert (await ada.post("/api/v1/items", json={"title": "secret"})).status_code == 201
    await move(clerk, ada.id, NEW)
    await post.client.post(FORGOT, json={"email": NEW})
    assert await post.mails(NEW) == []
    assert await post.signs_in(ada.email, PASSWORD)
