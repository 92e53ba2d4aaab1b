"""An application shared by all tests of a file, which leave no data behind."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI

from backend.core.context import Context
from tests import databases
from tests.actors import Actor, ActorFactory, Client
from tests.applications import make_app, make_context


@dataclass(frozen=True)
class Served:
    """The application, and who calls it."""

    app: FastAPI
    context: Context
    member: Actor
    admin: Actor
    nobody: Client


@pytest.fixture(scope="module")
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    with databases.cloned_database(databases.server_url(request.config)) as url:
        # Thousands of requests by one user are what these tests are about.
        context = make_context(url, rate_limit_enabled=False)
        context.state.started = True
        app = make_app(context)
        cast = ActorFactory(app, context)
        async with cast.stack, Client(app) as nobody:
            member, admin = await cast("ada"), await cast("root", roles=("admin",))
            yield Served(app, context, member, admin, nobody)
        await context.database.close()
