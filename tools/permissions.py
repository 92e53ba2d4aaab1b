"""Writes docs/permissions.md: who may call what, from what the modules declare.

With --check it says whether the page is up to date. Routes and their permissions are declared in
code; to whom things belong is not, so that is told here, and held against the running application
by tests/test_permissions.py.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.core.identity import Policy, policies
from backend.core.module import Module
from backend.core.permissions import ADMIN_ROLE
from backend.core.registry import discover, prefix_of, routes_of
from backend.modules.roles.schemas import BUILT_IN_ROLES

PAGE = Path(__file__).parents[1] / "docs" / "permissions.md"
COMMAND = "python -m tools.permissions"
# Routes on things that belong to somebody: those under the path, or only the one that is named
# with its method. The permission lifts the limit to one's own things; None: nothing does.
OWNERSHIP: dict[str, str | None] = {
    "GET /api/v1/auth/sessions": None,
    "/api/v1/auth/sessions/{id}": None,
    "GET /api/v1/users/{id}": "users:read",
    "GET /api/v1/items": "items:admin",
    "/api/v1/items/{id}": "items:admin",
    "GET /api/v1/articles": "articles:admin",
    "/api/v1/articles/{id}": "articles:admin",
}
ANONYMOUS, WITHOUT_ROLE = "nobody signed in", "no role"
ROLES = (WITHOUT_ROLE, *reversed(BUILT_IN_ROLES))
COLUMNS = (ANONYMOUS, *ROLES)
INTRODUCTION = f"""# Who may do what

Made by `{COMMAND}` from what the modules declare. Tests call every route as everybody
in these tables, on things of their own and on other people's, and fail where this page is wrong.

* Roles are data: this is what they permit when the application first starts. `GET /api/v1/roles`
  tells what they permit now.
* Nobody gives, takes or overrules a permission that they do not hold: a role or an account with
  more rights is out of reach (403). The last active administrator stays (409).

## Permissions

"""
LEGEND = (
    ("yes", "may call it"),
    ("all", "may call it, on everybody's things"),
    ("own", "may call it, on one's own things and to read what is public; the rest is 404 or 403"),
    ("public", "sees what is public"),
    ("-", "401 without a token, else 403"),
)
ROUTES = """
## Routes

The policy is the permission that a route needs, or: `signed in`; `public`, where a token is looked
at but not needed; `ignored`, where it is not looked at.

"""


def render(modules: Sequence[Module]) -> str:
    """The whole page."""
    granted = _granted(modules)
    permissions = [
        (f"`{permission}`", text, *("yes" if permission in granted[who] else "-" for who in ROLES))
        for module in modules
        for feature in module.features
        for permission, text in feature.permissions.items()
    ]
    routes = [
        (f"`{route}`", str(policy), *(_cell(route, policy, granted, who) for who in COLUMNS))
        for route, policy in sorted(_routes(modules), key=lambda each: each[0].split()[::-1])
    ]
    return "".join(
        (
            INTRODUCTION,
            _table(("permission", "", *ROLES), sorted(permissions)),
            ROUTES,
            _table(("", ""), LEGEND),
            "\n",
            _table(("route", "policy", *COLUMNS), routes),
        )
    )


def _routes(modules: Sequence[Module]) -> Iterator[tuple[str, Policy]]:
    for module in modules:
        for route in routes_of(module):
            for method in route.methods or ():
                path = f"{prefix_of(module)}{route.path}"
                yield f"{method} {path}", policies(route.dependant)[0]


def _granted(modules: Sequence[Module]) -> dict[str, set[str]]:
    """Permissions by role, as they are at the first start."""
    found: dict[str, set[str]] = {name: set() for name in COLUMNS}
    for module in modules:
        for feature in module.features:
            found[ADMIN_ROLE] |= feature.permissions.keys()
            for role, actions in feature.granted_to.items():
                found[role] |= {f"{feature.name}:{action}" for action in actions}
    return found


def _cell(route: str, policy: Policy, granted: dict[str, set[str]], who: str) -> str:
    needs_nobody = policy.kind in ("ignored", "public")
    if who == ANONYMOUS and not needs_nobody:
        return "-"
    if policy.permission and policy.permission not in granted[who]:
        return "-"
    owned = [lift for place, lift in OWNERSHIP.items() if _is_at(route, place)]
    if not owned:
        return "yes"
    if owned[0] in granted[who]:
        return "all"
    return "public" if who == ANONYMOUS else "own"


def _is_at(route: str, place: str) -> bool:
    path = route.split()[1]
    return route == place or path == place or path.startswith(f"{place}/")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    page = render(discover())
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page:
        sys.exit(f"docs/permissions.md is out of date. Run: {COMMAND}")


if __name__ == "__main__":
    main()
