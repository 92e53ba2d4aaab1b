"""A read replica may lag behind; what must be true now is asked of the primary."""

import pytest
from pydantic import SecretStr

from tests import databases
from tests.actors import ActorFactory
from tests.applications import make_app, make_context


async def test_who_is_calling_is_never_asked_of_a_replica(
    own_database_url: str, request: pytest.FixtureRequest
) -> None:
    server = databases.server_url(request.config)
    with databases.cloned_database(server) as lagging:
        context = make_context(own_database_url, database_replica_url=SecretStr(lagging))
        context.state.started = True
        cast = ActorFactory(make_app(context), context)
        async with cast.stack:
            ada = await cast("ada")
            # The replica has heard neither of the account nor of the session.
            assert (await ada.get("/api/v1/items")).status_code == 200
            assert (await ada.get("/api/v1/users/me")).status_code == 200
            assert (await ada.get(f"/api/v1/users/{ada.id}")).status_code == 404
            made = await ada.post("/api/v1/articles", json={"title": "Notes"})
            assert made.status_code == 201
        await context.database.close()
