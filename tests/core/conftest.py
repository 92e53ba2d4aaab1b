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
    """A shared application and its clients."""

    app: FastAPI
    context: Context
    member: Actor
    admin: Actor
    anonymous: Client


@pytest.fixture(scope="module")
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    with databases.cloned_database(databases.server_url(request.config)) as url:
        # These tests send thousands of requests as one user.
        context = make_context(url, rate_limit_enabled=False)
        context.state.started = True
        app = make_app(context)
        factory = ActorFactory(app, context)
        async with factory.stack, Client(app) as anonymous:
            member, admin = await factory("ada"), await factory("root", roles=("admin",))
            yield Served(app, context, member, admin, anonymous)
        await context.database.close()
