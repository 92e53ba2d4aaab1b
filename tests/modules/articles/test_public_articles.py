"""Everybody sees published articles, and only their authors change them."""

import pytest

from backend.core.context import Context
from tests.actors import Actor, ActorFactory, Client
from tests.modules.articles.declared import published_article_of
from tests.test_ownership import CALLERS, outcome
from tests.test_permissions import RULES, admitted, holds


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_what_is_public_is_seen_and_not_changed(
    method: str, client: Client, actor: ActorFactory, context: Context
) -> None:
    (rule,) = (each for each in RULES if each.route == f"{method} /api/v1/articles/{{id}}")
    owner = await actor("owner")
    for role in CALLERS:
        caller: Actor | Client = client
        if role != "anonymous":
            caller = await actor(role, roles=() if role == "nobody" else (role,))
        expected = admitted(rule, role)
        if expected == "allowed" and method != "GET" and not holds(role, "articles:admin"):
            expected = "403"
        published = await published_article_of(context, owner)
        assert await outcome(caller, rule, published) == expected, role
