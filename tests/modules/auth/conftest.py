"""Fixtures for tests of cookie mode."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from tests.actors import Actor, Client
from tests.web import Page, opened


@pytest.fixture
async def page(app: FastAPI, ada: Actor) -> AsyncIterator[Page]:
    """A page on which Ada is signed in by cookies."""
    async with Client(app) as client:
        yield await opened(client, ada.email)
