"""Changing an address needs the password and a verification; the old address is notified."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.actors import PASSWORD, Actor, ActorFactory
from tests.mails import token_of
from tests.modules.accounts.post import (
    LOGIN,
    ME,
    OWN,
    REGISTER,
    Post,
    assert_token_invalid,
)
from tests.statements import Statements

NEW = "countess@example.com"


async def move(actor: Actor, email: str = NEW, **members: Any) -> httpx.Response:
    body = {"email": email, "current_password": PASSWORD, **members}
    answer: httpx.Response = await actor.patch(ME, json=body)
    return answer


async def addresses(actor: Actor) -> tuple[str, str | None]:
    me = (await actor.get(ME)).json()
    return me["email"], me["pending_email"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_from_the_wish_to_the_new_address(
    post: Post, ada: Actor, admin: Actor, method: str
) -> None:
    body = {"email": NEW, "current_password": PASSWORD, "full_name": "Ada"}
    answer = await ada.request(method, ME, json=body)
    assert answer.status_code == 200
    me = answer.json()
    assert (me["email"], me["pending_email"], me["full_name"]) == (ada.email, NEW, "Ada")
    assert (await ada.get(ME)).json() == me
    assert "pending_email" not in (await admin.get(f"/api/v1/users/{ada.id}")).json()
    assert post.audited("user.update") == [] or NEW not in str(post.audited("user.update"))

    notice = await post.one(ada.email)
    assert notice["subject"] == "Trellis: Your e-mail address is about to change"
    assert notice["links"] == []
    assert NEW not in str(notice)
    mail = await post.one(NEW)
    assert "/verify-email#token=" in mail["links"][0]
    assert await post.signs_in(ada.email, PASSWORD)
    assert not await post.signs_in(NEW, PASSWORD)

    assert (await post.verify(token_of(mail))).status_code == 204
    assert await addresses(ada) == (NEW, None)
    assert (await ada.get(ME)).json()["is_verified"] is True
    assert await post.signs_in(NEW, PASSWORD)
    assert not await post.signs_in(ada.email, PASSWORD)
    actor, target, outcome, changes = post.audited("user.update")[-1]
    assert (str(actor), target, outcome) == (str(ada.id), str(ada.id), "success")
    assert changes == {"email": {"changed": True}, "is_verified": {"old": False, "new": True}}
    assert_token_invalid(await post.verify(token_of(mail)))


async def test_a_wrong_password_is_on_record(post: Post, ada: Actor) -> None:
    assert (await move(ada, current_password="Not the right one")).status_code == 422
    actor, target, outcome, changes = post.audited("user.update")[-1]
    assert (str(actor), target, outcome) == (str(ada.id), str(ada.id), "failure")
    assert changes == {"reason": "CURRENT_PASSWORD_WRONG"}


async def test_it_takes_the_password(post: Post, ada: Actor) -> None:
    missing = await ada.patch(ME, json={"email": NEW, "full_name": "New"})
    assert (missing.status_code, missing.json()["error"]) == (422, "VALIDATION_ERROR")
    assert [each["field"] for each in missing.json()["errors"]] == ["body.current_password"]
    wrong = await move(ada, current_password="not the right one", full_name="New")
    assert (wrong.status_code, wrong.json()["error"]) == (422, "CURRENT_PASSWORD_WRONG")
    assert await addresses(ada) == (ada.email, None)
    assert (await ada.get(ME)).json()["full_name"] is None
    assert await post.mails() == []


async def test_a_password_that_is_replaced_meanwhile_proves_nothing(
    post: Post, ada: Actor, statements: Statements
) -> None:
    def replace() -> None:
        post.sql("UPDATE users SET password_hash = %s WHERE id = %s", "another", ada.id)

    statements.before("FOR UPDATE", replace)
    refused = await move(ada)
    assert statements.waiting is None
    assert (refused.status_code, refused.json()["error"]) == (422, "CURRENT_PASSWORD_WRONG")
    assert await addresses(ada) == (ada.email, None)


async def test_wrong_passwords_count_as_guesses(post: Post, ada: Actor) -> None:
    post.configure(rate_limit_enabled=True)
    answers = [await move(ada, current_password="not the right one") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429]
    assert (await move(ada)).status_code == 429
    answer = await post.client.post(LOGIN, json={"email": "ada", "password": PASSWORD})
    assert answer.status_code == 429


async def test_the_present_address_needs_no_password_and_drops_a_wish(
    post: Post, ada: Actor
) -> None:
    before = (await ada.get(ME)).json()
    assert (await ada.patch(ME, json={"email": ada.email})).json() == before
    await move(ada)
    token = await post.token(NEW)
    answer = await ada.put(ME, json={"email": ada.email})
    assert (answer.status_code, answer.json()["pending_email"]) == (200, None)
    assert await addresses(ada) == (ada.email, None)
    assert_token_invalid(await post.verify(token))


async def test_another_wish_replaces_the_first(post: Post, ada: Actor) -> None:
    await move(ada)
    first = await post.token(NEW)
    await move(ada, "lovelace@example.com")
    assert_token_invalid(await post.verify(first))
    assert await addresses(ada) == (ada.email, "lovelace@example.com")
    assert (await post.verify(await post.token("lovelace@example.com"))).status_code == 204
    assert await addresses(ada) == ("lovelace@example.com", None)


async def test_another_spelling_is_another_address(post: Post, ada: Actor) -> None:
    assert (await move(ada, "ADA@example.com")).status_code == 200
    # The mailbox ignores case when it selects mails by address.
    links = [mail for mail in await post.mails(ada.email) if mail["links"]]
    assert (await post.verify(token_of(links[0]))).status_code == 204
    assert await addresses(ada) == ("ADA@example.com", None)


async def test_a_new_password_stops_the_change(post: Post, ada: Actor) -> None:
    await move(ada)
    token = await post.token(NEW)
    body = {"current_password": PASSWORD, "new_password": OWN}
    assert (await ada.put(f"{ME}/password", json=body)).status_code == 204
    assert await addresses(ada) == (ada.email, None)
    assert_token_invalid(await post.verify(token))


async def test_an_administrators_change_is_the_last_word(
    post: Post, ada: Actor, admin: Actor
) -> None:
    await move(ada)
    token = await post.token(NEW)
    body = {"email": "given@example.com"}
    assert (await admin.patch(f"/api/v1/users/{ada.id}", json=body)).status_code == 200
    assert_token_invalid(await post.verify(token))
    stored = post.sql("SELECT email, pending_email FROM users WHERE id = %s", ada.id)
    assert stored == [("given@example.com", None)]


async def test_a_taken_address_is_told_at_once(post: Post, ada: Actor, bob: Actor) -> None:
    refused = await move(ada, "BOB@example.com", full_name="New")
    assert (refused.status_code, refused.json()["error"]) == (409, "EMAIL_ALREADY_EXISTS")
    assert await addresses(ada) == (ada.email, None)
    assert (await ada.get(ME)).json()["full_name"] is None
    assert await post.mails() == []


async def test_a_taken_username_leaves_the_address_as_well(
    post: Post, ada: Actor, bob: Actor
) -> None:
    refused = await move(ada, username="BOB")
    assert (refused.status_code, refused.json()["error"]) == (409, "USERNAME_ALREADY_EXISTS")
    assert await addresses(ada) == (ada.email, None)
    assert await post.mails() == []


async def test_strictly_a_taken_address_is_told_to_its_owner_only(
    post: Post, actor: ActorFactory, ada: Actor, bob: Actor, statements: Statements
) -> None:
    post.configure(registration_mode="strict")
    carol = await actor("carol")
    seen = []
    for mover, email in ((ada, "bob@example.com"), (carol, NEW)):
        statements.clear()
        answer = await move(mover, email)
        assert (answer.status_code, answer.json()["pending_email"]) == (200, email)
        seen.append([*statements])
    assert seen[0] == seen[1]
    mail = await post.one("bob@example.com")
    assert mail["subject"] == "Trellis: You already have an account"
    assert mail["links"] == []
    assert (await bob.get(ME)).json()["email"] == "bob@example.com"


async def test_somebody_else_may_be_faster(post: Post, ada: Actor) -> None:
    await move(ada)
    token = await post.token(NEW)
    body = {"email": NEW, "password": OWN}
    assert (await post.client.post(REGISTER, json=body)).status_code == 201
    refused = await post.verify(token)
    assert (refused.status_code, refused.json()["error"]) == (409, "EMAIL_ALREADY_EXISTS")
    assert (await addresses(ada))[0] == ada.email


async def test_who_registers_the_address_meanwhile_gets_no_link_to_anothers_account(
    post: Post, ada: Actor
) -> None:
    await move(ada)
    body = {"email": NEW, "password": OWN}
    assert (await post.client.post(REGISTER, json=body)).status_code == 201
    subjects = [mail["subject"] for mail in await post.mails(NEW)]
    assert subjects == [
        "Trellis: You already have an account",
        "Trellis: Please confirm your e-mail address",
    ]


async def test_an_address_goes_to_one_of_two_at_once(post: Post, ada: Actor, bob: Actor) -> None:
    for mover in (ada, bob):
        assert (await move(mover)).status_code == 200
    tokens = [token_of(mail) for mail in await post.mails(NEW)]
    answers = await asyncio.gather(*(post.verify(token) for token in tokens))
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert sorted([(await addresses(each))[0] == NEW for each in (ada, bob)]) == [False, True]


async def test_wishes_have_a_limit(post: Post, ada: Actor) -> None:
    post.configure(rate_limit_enabled=True)
    answers = [await move(ada, f"a{number}@example.com") for number in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]


async def test_one_mailbox_is_not_filled_by_wishes(post: Post, ada: Actor, bob: Actor) -> None:
    post.configure(rate_limit_enabled=True)
    for mover in (ada, bob, ada, bob):
        assert (await move(mover)).status_code == 200
    assert len(await post.mails(NEW)) == 2, "of each account only the newest request"
    for mover in (ada, bob):
        assert (await move(mover)).status_code == 200
    assert len(await post.mails(NEW)) == 3, "at most three mails per hour and mailbox"
