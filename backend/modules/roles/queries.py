"""Reads of roles and permissions, as constant statements."""

from sqlalchemy import Text, bindparam, cast, column, func, or_, select, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col

from backend.core.http.pagination import Boolean, created_filters
from backend.db.lists.pages import Filter, ListSpec, Search, containing
from backend.db.query_runner import Query
from backend.modules.roles.models import Role

_ROLE = select(
    col(Role.name),
    col(Role.description),
    col(Role.permissions),
    col(Role.built_in),
    col(Role.created_at),
    col(Role.updated_at),
)
ROLE = Query(_ROLE.where(col(Role.name) == bindparam("name")))
ROLES = ListSpec(
    name="roles",
    statement=_ROLE,
    key=col(Role.name),
    sorts={
        "name": col(Role.name),
        "created_at": col(Role.created_at),
        "updated_at": col(Role.updated_at),
    },
    default_sort="name",
    filters={
        "built_in": Filter(
            Boolean, lambda value: col(Role.built_in) == value, "Which come with the application."
        ),
        **created_filters(col(Role.created_at)),
    },
    search=Search(
        lambda part: or_(col(Role.name).ilike(part), col(Role.description).ilike(part)),
        prepare=containing,
        description="Part of the name or description.",
    ),
)

# What can be permitted is declared in code. Told to PostgreSQL as a value, it is a list like all
# others, and no table can differ from what the running application declares.
_declared = (
    func.jsonb_to_recordset(cast(bindparam("declared", type_=Text()), JSONB))
    .table_valued(column("feature", Text), column("description", Text), column("actions", JSONB))
    .render_derived(name="declared", with_types=True)
)
PERMISSIONS = ListSpec(
    name="permissions",
    statement=select(_declared.c.feature, _declared.c.description, _declared.c.actions),
    key=_declared.c.feature,
    sorts={"feature": _declared.c.feature},
    default_sort="feature",
    # Where the rows come from, and no condition.
    scopes={"declared": lambda _: true()},
)
