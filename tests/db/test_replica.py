"""Reads use the replica, but identities and a session's own writes come from the primary."""

import psycopg
import pytest
from pydantic import SecretStr

from backend.db.replica import ReplicaRunner
from tests import databases
from tests.actors import ActorFactory
from tests.applications import make_app, make_context


async def test_identity_and_own_writes_are_read_from_the_primary(
    own_database_url: str, request: pytest.FixtureRequest
) -> None:
    server = databases.server_url(request.config)
    # A database without the account and the session stands for a replica that lags behind.
    with (
        databases.cloned_database(server) as lagging,
        psycopg.connect(own_database_url, autocommit=True) as connection,
    ):

        def forget_writes() -> None:
            connection.execute("UPDATE sessions SET wrote_at = now() - interval '1 hour'")

        context = make_context(own_database_url, database_replica_url=SecretStr(lagging))
        context.state.started = True
        replica = context.database.replica
        assert isinstance(replica, ReplicaRunner)
        # Skip the check, which would refuse a server that is not a standby.
        replica.problem = None
        factory = ActorFactory(make_app(context), context)
        async with factory.stack:
            ada = await factory("ada")
            # Signing in is a write of the session, so this read uses the primary.
            assert (await ada.get(f"/api/v1/users/{ada.id}")).status_code == 200
            forget_writes()
            assert (await ada.get("/api/v1/items")).status_code == 200
            assert (await ada.get("/api/v1/users/me")).status_code == 200
            assert (await ada.get(f"/api/v1/users/{ada.id}")).status_code == 404
            made = await ada.post("/api/v1/articles", json={"title": "Notes"})
            assert made.status_code == 201
            path = made.headers["location"]
            assert (await ada.get(path)).status_code == 200
            changed = await ada.patch("/api/v1/users/me", json={"full_name": "Ada"})
            assert changed.status_code == 200
            assert (await ada.get("/api/v1/articles?limit=5")).json()["data"] != []
            forget_writes()
            assert (await ada.get(path)).status_code == 404
        await context.database.close()


async def test_without_a_replica_a_write_updates_no_session(
    own_database_url: str,
) -> None:
    context = make_context(own_database_url)
    context.state.started = True
    factory = ActorFactory(make_app(context), context)
    async with factory.stack:
        ada = await factory("ada")
        with psycopg.connect(own_database_url) as connection:
            connection.execute("UPDATE sessions SET wrote_at = NULL")
        assert (await ada.post("/api/v1/items", json={"title": "x"})).status_code == 201
        with psycopg.connect(own_database_url) as connection:
            (found,) = connection.execute("SELECT wrote_at FROM sessions").fetchone() or ()
        assert found is None
    await context.database.close()
