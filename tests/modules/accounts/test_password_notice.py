"""A mail reports a changed password exactly if the change is committed."""

import pytest

from backend.core.context import Context
from backend.core.jobs import ORIGIN, enqueue
from backend.db.base import uuid7
from backend.modules.accounts.jobs import MAIL_PASSWORD_NOTICE
from tests.actors import PASSWORD, Actor
from tests.modules.accounts.post import ME, OWN, Post
from tests.statements import Statements

CHANGE = f"{ME}/password"
BODY = {"current_password": PASSWORD, "new_password": OWN}


async def test_a_change_is_told_to_the_owner(post: Post, ada: Actor, bob: Actor) -> None:
    post.configure(product_name="Tea & Co")
    assert (await ada.put(CHANGE, json=BODY)).status_code == 204
    mail = await post.one(ada.email)
    assert mail["subject"] == "Tea & Co: Your password has been changed"
    assert mail["links"] == []
    for secret in (PASSWORD, OWN):
        assert secret not in str(mail)
    # One mail per change, to the owner only.
    again = {"current_password": OWN, "new_password": f"{OWN} again"}
    assert (await ada.put(CHANGE, json=again)).status_code == 204
    assert len(await post.mails(ada.email)) == len(await post.mails()) == 2
    ((_, target, outcome, _), _) = post.audited("auth.password_change")
    assert (target, outcome) == (str(ada.id), "success")


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "current_password": "wrong password"},
        {**BODY, "new_password": PASSWORD},
        {**BODY, "new_password": "password"},
        {**BODY, "new_password": "ada@example.com"},
        {"new_password": OWN},
    ],
)
async def test_what_is_refused_is_not_told(post: Post, ada: Actor, body: dict[str, str]) -> None:
    assert (await ada.put(CHANGE, json=body)).status_code == 422
    assert await post.mails() == []


async def test_the_job_is_enqueued_in_the_transaction_of_the_change(
    post: Post, ada: Actor, statements: Statements
) -> None:
    # Other connections see neither the job nor the change before the commit.
    seen = []

    def look() -> None:
        seen.append(post.sql("SELECT task_name FROM procrastinate_jobs"))

    statements.before("procrastinate_defer_jobs", look)
    assert (await ada.put(CHANGE, json=BODY)).status_code == 204
    assert seen == [[]]
    jobs = post.sql("SELECT task_name, args FROM procrastinate_jobs")
    ((name, arguments),) = jobs
    assert name == "accounts.notify_password_change"
    assert arguments.keys() == {"event_id", "event", "data", ORIGIN}
    assert arguments["event"] == "users.PasswordChanged"
    # Ids only: the administrator's list of jobs shows them.
    assert arguments["data"].keys() == {"user_id", "keep_session"}


async def test_a_notice_that_is_delivered_twice_is_one_mail(post: Post, ada: Actor) -> None:
    assert (await ada.put(CHANGE, json=BODY)).status_code == 204
    post.sql(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
        " SELECT queue_name, task_name, args FROM procrastinate_jobs RETURNING id"
    )
    assert len(await post.mails(ada.email)) == 1


async def test_a_notice_that_a_former_release_has_enqueued_is_mailed(
    post: Post, ada: Actor, context: Context
) -> None:
    notice = str(uuid7())
    async with context.database.transaction() as session:
        await enqueue(session, MAIL_PASSWORD_NOTICE, user_id=str(ada.id), notice_id=notice)
    assert (await post.one(ada.email))["subject"].endswith("Your password has been changed")


async def test_an_account_that_is_gone_is_not_mailed(post: Post, ada: Actor) -> None:
    assert (await ada.put(CHANGE, json=BODY)).status_code == 204
    assert (await ada.delete(ME)).status_code == 204
    assert await post.mails() == []
