"""Sessions that ended long ago are deleted, and no others."""

import psycopg
import pytest

from backend.core.context import Context
from backend.modules.auth import jobs
from backend.modules.auth.manifest import module
from tests.actors import Actor, Client
from tests.sessions import Tokens, refresh, sign_in

DAY = 86_400
_SHIFT = {
    "expired": "UPDATE sessions SET expires_at = now() - make_interval(secs => %s) WHERE id = %s",
    "revoked": "UPDATE sessions SET revoked_at = now() - make_interval(secs => %s) WHERE id = %s",
}


def left(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {str(row[0]) for row in connection.execute("SELECT id FROM sessions")}


@pytest.mark.parametrize("how", sorted(_SHIFT))
async def test_what_ended_a_day_ago_is_removed(
    ada: Actor, client: Client, context: Context, database_url: str, how: str
) -> None:
    ended: list[Tokens] = [await sign_in(client, ada.email) for _ in range(2)]
    with psycopg.connect(database_url) as connection:
        for tokens, ago in zip(ended, (DAY + 60, DAY - 60), strict=True):
            connection.execute(_SHIFT[how].encode(), [ago, tokens["session_id"]])
    await jobs.purge_sessions(context)
    assert left(database_url) == {str(ada.session_id), ended[1]["session_id"]}
    for tokens in ended:
        assert (await refresh(client, tokens["refresh_token"])).status_code == 401
    assert (await ada.get("/api/v1/users/me")).status_code == 200


async def test_it_goes_on_until_none_is_left(
    ada: Actor,
    client: Client,
    context: Context,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "BATCH", 2)
    for _ in range(5):
        await sign_in(client, ada.email)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE sessions SET revoked_at = now() - interval '2 days'")
    await jobs.purge_sessions(context)
    assert not left(database_url)


def test_a_worker_does_it_every_hour() -> None:
    (job,) = module.jobs
    assert job is jobs.PURGE_SESSIONS
    assert job.cron == "17 * * * *"
