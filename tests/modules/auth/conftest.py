"""Fixtures for tests of sessions."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from backend.core.context import Context
from backend.modules.auth.settings import AuthSettings
from tests.actors import Actor, Client
from tests.sessions import Tokens, sign_in
from tests.web import Page, sign_in_by_cookie

Configure = Callable[..., Context]


@pytest.fixture
async def page(app: FastAPI, ada: Actor) -> AsyncIterator[Page]:
    """A page on which Ada is signed in by cookies."""
    async with Client(app) as client:
        yield await sign_in_by_cookie(client, ada.email)


@pytest.fixture(name="opened")
async def ada_signed_in(ada: Actor, client: Client) -> Tokens:
    """Tokens of a second session of Ada's."""
    return await sign_in(client, ada.email)


@pytest.fixture
def configured(app: FastAPI, context: Context) -> Configure:
    """Return a function that changes the settings of auth: `configured(refresh_grace=0)`."""

    def configure(**changes: Any) -> Context:
        settings = context.settings_of(AuthSettings).model_copy(update=changes)
        changed = replace(
            context, module_settings={**context.module_settings, AuthSettings: settings}
        )
        app.state.context = changed
        return changed

    return configure
