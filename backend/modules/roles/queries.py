"""Reads of roles and permissions, as constant statements."""

from sqlalchemy import Text, bindparam, cast, column, func, or_, select, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col

from backend.core.lists import Boolean, ResourceList, list_spec, select_fields
from backend.db.lists.specs import Filter, Search, containing
from backend.db.queries import Query
from backend.modules.roles.models import Role
from backend.modules.roles.schemas import FeatureOut, RoleOut

ROLE = Query(select_fields(Role, RoleOut).where(col(Role.name) == bindparam("name")))
ROLES = list_spec(
    Role,
    RoleOut,
    sorts=(col(Role.name), col(Role.created_at), col(Role.updated_at)),
    default_sort="name",
    filters={
        "built_in": Filter(
            Boolean, lambda value: col(Role.built_in) == value, "Which come with the application."
        ),
    },
    search=Search(
        lambda part: or_(col(Role.name).ilike(part), col(Role.description).ilike(part)),
        prepare=containing,
        description="Part of the name or description.",
    ),
    small="Roles are created one by one, by administrators.",
)

# Permissions are declared in code. Passed to PostgreSQL as a value, they are a list like all
# others, and no table can differ from what the running application declares.
_declared = (
    func.jsonb_to_recordset(cast(bindparam("declared", type_=Text()), JSONB))
    .table_valued(column("feature", Text), column("description", Text), column("actions", JSONB))
    .render_derived(name="declared", with_types=True)
)
PERMISSIONS = ResourceList(
    name="permissions",
    schema=FeatureOut,
    statement=select(_declared.c.feature, _declared.c.description, _declared.c.actions),
    key=_declared.c.feature,
    sorts={"feature": _declared.c.feature},
    default_sort="feature",
    # Where the rows come from, and no condition.
    scopes={"declared": lambda _: true()},
    small="Permissions are declared in code.",
)
