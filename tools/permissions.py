"""docs/permissions.md, from the policies and permissions that the modules declare."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from backend.core.authorization import Policy, policies
from backend.core.features import ADMIN_ROLE
from backend.core.module import Module
from backend.core.registry import prefix_of, routes_of
from backend.modules.roles.schemas import BUILT_IN_ROLES

PAGE = Path(__file__).parents[1] / "docs" / "permissions.md"
COMMAND = "make pages"
ANONYMOUS, WITHOUT_ROLE = "nobody signed in", "no role"
ROLES = (WITHOUT_ROLE, *reversed(BUILT_IN_ROLES))
COLUMNS = (ANONYMOUS, *ROLES)
INTRODUCTION = f"""# Who may do what

`{COMMAND}` writes this page from the declarations of the modules. Tests call every route
in each column's role, on own resources and on those of other users, and fail if this page is wrong.

* Roles are data: the tables show their permissions at the first start of the application.
  `GET /api/v1/roles` returns their present permissions.
* A caller cannot grant or revoke a permission that they do not hold, and cannot change a role or
  an account with more permissions than their own (403). The last active administrator cannot be
  removed (409).

## Permissions

"""
LEGEND = (
    ("yes", "may call it"),
    ("all", "may call it, on resources of all users"),
    ("own", "may call it, on own resources and to read public ones; others are 404 or 403"),
    ("public", "may read public resources"),
    ("-", "401 without a token, else 403"),
)
ROUTES = """
## Routes

The policy is the permission that a route requires, or `signed in`, or `public` (a token is
optional), or `download` (the same, without cookies), or `ignored` (a token is not read).

"""


def render(modules: Sequence[Module]) -> str:
    """Return the page as Markdown."""
    granted = _granted(modules)
    permissions = [
        (
            f"`{name}`",
            text,
            *("yes" if name in granted[role] else "-" for role in ROLES),
        )
        for module in modules
        for feature in module.features
        for name, text in feature.permissions.items()
    ]
    owned = {
        " ".join([*method, f"{prefix_of(module)}{path}"]): lift
        for module in modules
        for place, lift in module.owned.items()
        for *method, path in [place.split()]
    }
    routes = [
        (
            f"`{route}`",
            str(policy),
            *(_cell(route, policy, granted, owned, role) for role in COLUMNS),
        )
        for route, policy in sorted(_routes(modules), key=lambda entry: entry[0].split()[::-1])
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
    """Return the permissions of each column's role at the first start."""
    granted: dict[str, set[str]] = {name: set() for name in COLUMNS}
    for module in modules:
        for feature in module.features:
            granted[ADMIN_ROLE] |= feature.permissions.keys()
            for role, actions in feature.granted_to.items():
                granted[role] |= {f"{feature.name}:{action}" for action in actions}
    return granted


def _cell(
    route: str,
    policy: Policy,
    granted: dict[str, set[str]],
    owned: dict[str, str | None],
    role: str,
) -> str:
    open_to_all = policy.kind in ("ignored", "download", "public")
    if role == ANONYMOUS and not open_to_all:
        return "-"
    if policy.permission and policy.permission not in granted[role]:
        return "-"
    lifts = [lift for pattern, lift in owned.items() if _is_at(route, pattern)]
    if not lifts:
        return "yes"
    if lifts[0] in granted[role]:
        return "all"
    return "public" if role == ANONYMOUS else "own"


def _is_at(route: str, pattern: str) -> bool:
    path = route.split()[1]
    return route == pattern or path == pattern or path.startswith(f"{pattern}/")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
