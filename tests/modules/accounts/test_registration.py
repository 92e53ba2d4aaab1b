"""Registration is open without disclosing existing accounts, or closed."""

from typing import Any

import httpx
import pytest

from backend.core.context import Context
from backend.core.events import publish
from backend.core.principal import SYSTEM
from backend.modules.accounts import service as accounts
from backend.modules.accounts.exceptions import RegistrationClosedError
from backend.modules.users import service as users
from backend.modules.users.events import UsersInvited
from backend.modules.users.schemas import Registration
from tests.actors import PASSWORD, Actor, ActorFactory
from tests.mails import token_of
from tests.modules.accounts.post import (
    FORGOT,
    FRONTEND,
    LOGIN,
    ME,
    REGISTER,
    REQUEST,
    Post,
    assert_token_invalid,
)
from tests.statements import Statements

NEW = {"email": "new@example.com", "password": "correct horse battery", "username": "new"}


async def register(post: Post, **members: Any) -> httpx.Response:
    return await post.client.post(REGISTER, json={**NEW, **members})


async def me(post: Post, password: str = NEW["password"]) -> dict[str, Any]:
    signed_in = await post.client.post(LOGIN, json={"email": NEW["email"], "password": password})
    headers = {"Authorization": f"Bearer {signed_in.json()['access_token']}"}
    found: dict[str, Any] = (await post.client.get(ME, headers=headers)).json()
    return found


async def test_the_address_is_verified_by_the_link_in_a_mail(post: Post) -> None:
    assert (await register(post)).status_code == 201
    assert (await me(post))["is_verified"] is False
    mail = await post.one("new@example.com")
    (link,) = mail["links"]
    assert link == f"{FRONTEND}/verify-email#token={token_of(mail)}"
    assert link in mail["text"]
    assert "24 hours" in mail["text"]
    assert (await post.verify(token_of(mail))).status_code == 204
    account = await me(post)
    assert account["is_verified"] is True
    assert_token_invalid(await post.verify(token_of(mail)))
    ((actor, target, outcome, changes),) = post.audited("user.update")
    assert str(actor) == target == account["id"]
    assert (outcome, changes) == ("success", {"is_verified": {"old": False, "new": True}})


async def test_what_somebody_calls_themselves_is_in_no_mail(post: Post) -> None:
    # Registration accepts any name and address, so mails must not contain text of the client.
    answer = await register(post, username="evil.example", full_name="Visit http://evil.example")
    assert answer.status_code == 201
    mail = await post.one("new@example.com")
    assert "evil" not in str(mail)


async def test_a_refused_registration_mails_nobody(post: Post, ada: Actor) -> None:
    for taken in ({"email": "ADA@example.com"}, {"username": "ADA"}, {"password": "password"}):
        assert (await register(post, **taken)).status_code in (409, 422)
    assert await post.mails() == []


async def test_an_account_that_is_rolled_back_is_mailed_nothing(
    post: Post, context: Context
) -> None:
    async def make_and_break() -> None:
        async with context.database.transaction() as session:
            user = await users.add_user(session, SYSTEM, email="new@example.com")
            await publish(context, session, UsersInvited({user.id: user.email}))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await make_and_break()
    assert post.sql("SELECT id FROM procrastinate_jobs") == []
    assert post.sql("SELECT id FROM mailed_tokens") == []
    assert await post.mails() == []


async def test_the_links_lead_to_the_front_end_and_never_to_the_host(post: Post) -> None:
    post.configure(frontend_url="https://app.example.com/trellis/")
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    answer = await post.client.post(REGISTER, json=NEW, headers=headers)
    assert answer.status_code == 201
    mail = await post.one("new@example.com")
    assert mail["links"][0].startswith("https://app.example.com/trellis/verify-email#token=")
    assert "evil" not in str(mail)


async def test_a_front_end_with_pages_of_its_own(post: Post, ada: Actor) -> None:
    post.configure(
        frontend_url="https://app.example.com",
        link_verify_email="{frontend_url}/auth/verify?from=mail&token={token}",
        link_reset_password="https://id.example.com/reset/{token}",
    )
    await register(post)
    link = (await post.one("new@example.com"))["links"][0]
    start, _, token = link.partition("token=")
    assert start == "https://app.example.com/auth/verify?from=mail&"
    assert (await post.verify(token)).status_code == 204
    await post.client.post(FORGOT, json={"email": ada.email})
    (link,) = (await post.one(ada.email))["links"]
    assert link.startswith("https://id.example.com/reset/")
    assert (await post.reset(link.rpartition("/")[2])).status_code == 204


async def test_the_product_has_a_name_of_its_own(post: Post) -> None:
    post.configure(product_name="Tea & Co")
    await register(post)
    mail = await post.one("new@example.com")
    assert mail["subject"] == "Tea & Co: Please confirm your e-mail address"
    assert "Tea & Co (localhost:3000)" in mail["text"]
    assert "Tea &amp; Co (localhost:3000)" in mail["html"]
    assert "Trellis" not in str(mail)


async def test_signing_in_may_have_to_wait_until_the_address_is_verified(post: Post) -> None:
    post.configure(require_verified_email=True)
    await register(post)
    credentials = {"email": "new@example.com", "password": NEW["password"]}
    refused = await post.client.post(LOGIN, json=credentials)
    assert (refused.status_code, refused.json()["error"]) == (403, "EMAIL_NOT_VERIFIED")
    await post.verify(await post.token("new@example.com"))
    assert await post.signs_in("new@example.com", NEW["password"])


async def test_where_registration_is_closed_nobody_registers(post: Post) -> None:
    post.configure(registration_mode="closed")
    for body in (NEW, {}, {"email": 5}):
        refused = await post.client.post(REGISTER, json=body)
        assert (refused.status_code, refused.json()["error"]) == (403, "REGISTRATION_CLOSED")
    assert await post.mails() == []


async def test_where_registration_is_closed_other_modules_register_nobody(post: Post) -> None:
    post.configure(registration_mode="closed")
    new = Registration(email="new@example.com", password=PASSWORD)
    async with post.context.database.transaction() as session:
        with pytest.raises(RegistrationClosedError):
            await accounts.register(post.context, session, new)


async def test_where_registration_is_closed_administrators_make_accounts(
    post: Post, admin: Actor
) -> None:
    post.configure(registration_mode="closed")
    assert (await admin.post("/api/v1/users", json=NEW)).status_code == 201


@pytest.fixture
def strict(post: Post) -> Post:
    post.configure(registration_mode="strict")
    return post


async def test_strictly_new_accounts_are_made_and_mailed_a_link(strict: Post) -> None:
    answer = await register(strict)
    assert answer.status_code == 202
    assert answer.json().keys() == {"detail"}
    assert "location" not in answer.headers
    mail = await strict.one("new@example.com")
    account = await me(strict)
    assert (account["username"], account["is_verified"]) == ("new", False)
    assert (await strict.verify(token_of(mail))).status_code == 204
    assert (await me(strict))["is_verified"] is True


async def test_strictly_known_and_unknown_are_answered_alike(
    strict: Post, ada: Actor, statements: Statements
) -> None:
    seen = []
    for members in (
        {},
        {"email": "ada@example.com", "username": "other"},
        {"email": "third@example.com", "username": "ADA"},
        {"email": "fourth@example.com", "username": None},
    ):
        statements.clear()
        answer = await register(strict, **members)
        seen.append((answer.status_code, answer.content, [*statements]))
    assert seen[0][0] == 202
    assert seen[0][2], "no statements were observed"
    assert all(each == seen[0] for each in seen)


async def test_strictly_the_owner_of_a_known_address_is_told(strict: Post, ada: Actor) -> None:
    await register(strict, email="ADA@example.com", password="not the password of ada")
    mail = await strict.one("ada@example.com")
    assert mail["subject"] == "Trellis: You already have an account"
    assert mail["links"] == []
    assert await strict.signs_in("ada", PASSWORD)
    assert not await strict.signs_in("ada", "not the password of ada")


async def test_strictly_nobody_with_a_disabled_account_is_written_to(
    strict: Post, ada: Actor, admin: Actor
) -> None:
    await admin.patch(f"/api/v1/users/{ada.id}", json={"is_active": False})
    assert (await register(strict, email=ada.email)).status_code == 202
    assert await strict.mails() == []


async def test_strictly_a_taken_username_is_told_by_mail(strict: Post, ada: Actor) -> None:
    await register(strict, username="ADA")
    mail = await strict.one("new@example.com")
    assert mail["subject"] == "Trellis: Please choose another username"
    assert mail["links"] == []
    assert not await strict.signs_in("new@example.com", NEW["password"])
    await register(strict, username="other")
    assert await strict.mails()
    assert await strict.signs_in("new@example.com", NEW["password"])


async def test_strictly_the_second_who_registers_changes_nothing(strict: Post) -> None:
    await register(strict)
    await register(strict, password="another password", username="other")
    first, second = await strict.mails("new@example.com")
    assert second["subject"] == "Trellis: You already have an account"
    assert await strict.signs_in("new@example.com", NEW["password"])
    assert (await strict.verify(token_of(first))).status_code == 204


async def test_strictly_one_address_is_not_written_to_again_and_again(
    strict: Post, ada: Actor
) -> None:
    strict.configure(registration_mode="strict", rate_limit_enabled=True)
    answers = [await register(strict, email=ada.email) for _ in range(5)]
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (202, answers[0].content)
    }
    assert len(await strict.mails()) == 3


async def test_strictly_with_verified_addresses_only_not_even_signing_in_tells(
    post: Post, actor: ActorFactory
) -> None:
    # Otherwise, registration and sign-in would disclose whether the address had an account.
    post.configure(registration_mode="strict", require_verified_email=True)
    await register(post)
    assert (await post.mails())[-1]["to"] == "new@example.com"
    credentials = {"email": "new@example.com", "password": NEW["password"]}
    refused = await post.client.post(LOGIN, json=credentials)
    assert (refused.status_code, refused.json()["error"]) == (401, "INVALID_CREDENTIALS")
    token = await post.token("new@example.com")
    assert (await post.verify(token)).status_code == 204
    account = await me(post)
    assert (account["username"], account["is_verified"]) == ("new", True)
    assert_token_invalid(await post.verify(token))


async def test_strictly_the_link_that_was_mailed_last_is_the_one_that_counts(post: Post) -> None:
    post.configure(registration_mode="strict", require_verified_email=True)
    await register(post)
    older = await post.token("new@example.com")
    await register(post, email="NEW@example.com", password="another password", username="other")
    await register(post, email="somebody@example.com", username="somebody")
    newer = token_of((await post.mails("NEW@example.com"))[-1])
    assert_token_invalid(await post.verify(older))
    assert (await post.verify(newer)).status_code == 204
    assert await post.signs_in("new@example.com", "another password")
    assert not await post.signs_in("new@example.com", NEW["password"])
    assert (await post.verify(await post.token("somebody@example.com"))).status_code == 204


@pytest.mark.parametrize(
    ("member", "value", "code"),
    [
        ("email", "NEW@example.com", "EMAIL_ALREADY_EXISTS"),
        ("username", "NEW", "USERNAME_ALREADY_EXISTS"),
    ],
)
async def test_strictly_what_was_free_may_be_taken_when_the_link_is_followed(
    post: Post, admin: Actor, member: str, value: str, code: str
) -> None:
    post.configure(registration_mode="strict", require_verified_email=True)
    await register(post)
    token = await post.token("new@example.com")
    other = {"email": "other@example.com", "username": "other", "password": PASSWORD}
    made = await admin.post("/api/v1/users", json={**other, member: value})
    assert made.status_code == 201
    refused = await post.verify(token)
    assert (refused.status_code, refused.json()["error"]) == (409, code)


async def test_an_address_that_nobody_has_verified_can_be_written_to_once_more(post: Post) -> None:
    await register(post)
    first = await post.token("new@example.com")
    answer = await post.client.post(REQUEST, json={"email": "NEW@example.com"})
    assert answer.status_code == 202
    second = await post.token("new@example.com")
    assert_token_invalid(await post.verify(first))
    assert (await post.verify(second)).status_code == 204
    assert (await post.client.post(REQUEST, json={"email": "new@example.com"})).status_code == 202
    assert len(await post.mails()) == 2, "no mail is sent to an address that is already verified"
