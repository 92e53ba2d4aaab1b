"""Every role on own resources and on those of other users, compared with docs/permissions.md.

The rules are those of tests/test_permissions.py.
"""

import re
from uuid import UUID

import httpx
import pytest

from backend.core.context import Context
from tests.actors import Actor, ActorFactory, Client
from tests.declared import NEVER, Make, Rule, table
from tests.test_permissions import RULES, admitted, holds, policies_of
from tools.pages import covered_modules
from tools.permissions import COLUMNS, PAGE

# The columns of the page, in its order.
CALLERS = ("anonymous", "nobody", "viewer", "member", "editor", "admin")
OWNED = [rule for rule in RULES if rule.others]
# The resource of a route; patterns for the end of a path precede those for its beginning.
THINGS: dict[str, Make] = table("THINGS")


def maker(rule: Rule) -> Make:
    found = [make for path, make in THINGS.items() if re.fullmatch(path, rule.path)]
    assert found, (
        f"{rule.route} is a route of resources with owners: add a function that stores one to "
        "THINGS in the declared.py of the module's tests; see tests/declared.py."
    )
    return found[0]


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


def table_cell(rule: Rule, role: str) -> str:
    """Return the cell of the page for a rule and a role."""
    if admitted(rule, role) != "allowed":
        return "-"
    if rule.others is None:
        return "yes"
    if holds(role, rule.others):
        return "all"
    return "public" if role == "anonymous" else "own"


def rows_of(first: str) -> list[tuple[str, str, str]]:
    """Return the first cell, the second and the rest of each row whose first cell matches."""
    row = re.compile(rf"^\| `({first})` \| ([^|]*) \| (.*) \|$", re.MULTILINE)
    return row.findall(PAGE.read_text("utf-8"))


def test_the_page_says_what_these_rules_say() -> None:
    shown = {route for module in covered_modules() for route in policies_of(module)}
    rows = rows_of(r"[A-Z]+ /[^`]*")
    page = {route: (policy, tuple(cells.split(" | "))) for route, policy, cells in rows}
    assert page == {
        rule.route: (rule.policy, tuple(table_cell(rule, role) for role in CALLERS))
        for rule in RULES
        if rule.route in shown
    }


def test_the_page_says_which_permissions_each_role_holds() -> None:
    assert len(COLUMNS) == len(CALLERS)
    rows = rows_of(r"[a-z_]+:[a-z_]+")
    page = {permission: tuple(cells.split(" | ")) for permission, _, cells in rows}
    features = [feature for module in covered_modules() for feature in module.features]
    assert page.keys() == set().union(*(feature.permissions for feature in features))
    for permission, cells in page.items():
        expected = tuple("yes" if holds(role, permission) else "-" for role in CALLERS[1:])
        assert cells == expected, permission
