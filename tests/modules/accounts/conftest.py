"""Fixtures for tests of mailed links."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from backend.core.context import Context
from tests.actors import Client
from tests.modules.accounts.post import Post


@pytest.fixture
async def post(
    app: FastAPI, client: Client, context: Context, database_url: str
) -> AsyncIterator[Post]:
    mailbox = Post(app, client, context, database_url)
    yield mailbox
    app.state.context = context
