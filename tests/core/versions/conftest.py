from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from backend.core.context import Context
from backend.core.registry import ordered
from tests.applications import MODULES, make_app, make_context
from tests.core.versions.made_tasks.manifest import module
from tests.core.versions.made_tasks.models import MadeTask

# The project's modules may have other versions as well.
FIRST_VERSIONS = tuple(replace(each, versions=()) for each in MODULES)
WITH_TASKS = ordered((*FIRST_VERSIONS, module))
ORIGIN = "https://app.example.com"


@pytest.fixture
async def context(own_database_url: str) -> AsyncIterator[Context]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy has no types here
    with psycopg.connect(own_database_url) as connection:
        table = str(CreateTable(MadeTask.__table__).compile(dialect=dialect))  # type: ignore[attr-defined]
        connection.execute(table.encode())
    made = make_context(own_database_url, WITH_TASKS, cors_origins=(ORIGIN,))
    yield made
    await made.database.close()


@pytest.fixture
def app(context: Context) -> FastAPI:
    context.state.started = True
    return make_app(context, WITH_TASKS)
