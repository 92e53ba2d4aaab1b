"""Every role on own resources and on those of other users, compared with docs/permissions.md.

The rules are those of tests/test_permissions.py.
"""

import re
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
import pytest

from backend.core.client_info import ClientInfo
from backend.core.context import Context
from backend.core.registry import discover
from backend.db.base import Base
from backend.modules.articles.models import Article
from backend.modules.auth import service as auth
from backend.modules.items.models import Item
from tests.actors import PASSWORD, Actor, ActorFactory, Client
from tests.test_permissions import NEVER, ROLES, RULES, Rule, admitted, holds
from tools.permissions import COLUMNS, COMMAND, PAGE, render

# The columns of the page, in its order.
CALLERS = ("anonymous", "nobody", "viewer", "member", "editor", "admin")
OWNED = [rule for rule in RULES if rule.others]


async def stored(context: Context, thing: Base, id: UUID) -> UUID:
    async with context.database.transaction() as session:
        session.add(thing)
    return id


async def item_of(context: Context, owner: Actor) -> UUID:
    item = Item(title="Tea", owner_id=owner.id)
    return await stored(context, item, item.id)


async def draft_of(context: Context, owner: Actor) -> UUID:
    article = Article(title="Tea", content="Leaves.", author_id=owner.id)
    return await stored(context, article, article.id)


async def published_article_of(context: Context, owner: Actor) -> UUID:
    article = Article(title="Tea", content="Leaves.", status="published", author_id=owner.id)
    article.published_at = article.created_at
    return await stored(context, article, article.id)


async def session_of(context: Context, owner: Actor) -> UUID:
    opened = await auth.sign_in(context, owner.email, PASSWORD, ClientInfo())
    return opened.session_id


async def account_of(_: Context, owner: Actor) -> UUID:
    return owner.id


Make = Callable[[Context, Actor], Awaitable[UUID]]
# The resource of a route; patterns for the end of a path precede those for its beginning.
THINGS: dict[str, Make] = {
    r".*/unpublish": published_article_of,
    r"/api/v1/articles.*": draft_of,
    r"/api/v1/items.*": item_of,
    r"/api/v1/auth/sessions.*": session_of,
    r"/api/v1/users/\{id\}": account_of,
}


def maker(rule: Rule) -> Make:
    return next(make for path, make in THINGS.items() if re.fullmatch(path, rule.path))


async def outcome(caller: Actor | Client, rule: Rule, id: UUID) -> str:
    """Return the status of a rejection, or "allowed" if the action took effect."""
    method, _, path = rule.route.partition(" ")
    body: dict[str, str] | None = {} if method == "PATCH" else None
    answer: httpx.Response = await caller.request(method, path.format(id=id), json=body)
    if answer.is_success and "{id}" not in path:
        # A row that a list omits does not exist for the caller.
        return "allowed" if str(id) in [row["id"] for row in answer.json()["data"]] else "404"
    return "allowed" if answer.is_success else str(answer.status_code)


@pytest.mark.parametrize("rule", OWNED, ids=lambda rule: rule.route)
async def test_every_role_on_own_things_and_on_other_peoples(
    rule: Rule, client: Client, actor: ActorFactory, context: Context
) -> None:
    make, owner = maker(rule), await actor("owner")
    for role in CALLERS:
        caller: Actor | Client = client
        if role != "anonymous":
            caller = await actor(role, roles=() if role == "nobody" else (role,))
            own = await outcome(caller, rule, await make(context, caller))
            assert own == admitted(rule, role), f"{rule.route}, {role}'s own"
        others = await outcome(caller, rule, await make(context, owner))
        expected = admitted(rule, role)
        if expected == "allowed" and not holds(role, rule.others or NEVER):
            expected = str(rule.refusal)
        assert others == expected, f"{rule.route}, by {role} on another user's"


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


def table_cell(rule: Rule, role: str) -> str:
    """Return the cell of the page for a rule and a role."""
    if admitted(rule, role) != "allowed":
        return "-"
    if rule.others is None:
        return "yes"
    if holds(role, rule.others):
        return "all"
    return "public" if role == "anonymous" else "own"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == render(discover()), f"Run: {COMMAND}"


def rows_of(first: str) -> list[tuple[str, str, str]]:
    """Return the first cell, the second and the rest of each row whose first cell matches."""
    row = re.compile(rf"^\| `({first})` \| ([^|]*) \| (.*) \|$", re.MULTILINE)
    return row.findall(PAGE.read_text("utf-8"))


def test_the_page_says_what_these_rules_say() -> None:
    rows = rows_of(r"[A-Z]+ /[^`]*")
    page = {route: (policy, tuple(cells.split(" | "))) for route, policy, cells in rows}
    assert page == {
        rule.route: (rule.policy, tuple(table_cell(rule, role) for role in CALLERS))
        for rule in RULES
    }


def test_the_page_says_which_permissions_each_role_holds() -> None:
    assert len(COLUMNS) == len(CALLERS)
    rows = rows_of(r"[a-z_]+:[a-z_]+")
    page = {permission: tuple(cells.split(" | ")) for permission, _, cells in rows}
    assert page.keys() >= set().union(*ROLES.values())
    for permission, cells in page.items():
        expected = tuple("yes" if holds(role, permission) else "-" for role in CALLERS[1:])
        assert cells == expected, permission
