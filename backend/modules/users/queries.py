"""Reads of accounts, as constant statements."""

from typing import Annotated, Any

from sqlalchemy import ColumnElement, Select, String, Subquery, bindparam, exists, func, or_, select
from sqlmodel import col

from backend.core.pagination import Boolean, created_filters
from backend.core.schemas import Trimmed
from backend.db.lists import Filter, Listing, Search, containing
from backend.db.reads import Query
from backend.modules.roles.service import grants
from backend.modules.users.models import User, UserRole

_roles = func.array(
    select(col(UserRole.role_name))
    .where(col(UserRole.user_id) == col(User.id))
    .order_by(col(UserRole.role_name))
    .correlate(User)
    .scalar_subquery()
)
_USER = select(
    col(User.id),
    col(User.email),
    col(User.username),
    col(User.full_name),
    col(User.is_active),
    col(User.is_verified),
    _roles.label("roles"),
    col(User.created_at),
    col(User.updated_at),
)


def _permissions() -> ColumnElement[str]:
    """All permissions of a user in one text, separated by spaces: one value, cheap to read."""
    granted = grants()
    return (
        select(func.string_agg(func.array_to_string(granted.c.permissions, " "), " "))
        .select_from(UserRole)
        .join(granted, granted.c.role_name == col(UserRole.role_name))
        .where(col(UserRole.user_id) == col(User.id))
        .correlate(User)
        .scalar_subquery()
    )


def access() -> Subquery:
    """See `service.access`."""
    return (
        select(
            col(User.id).label("user_id"),
            col(User.sessions_valid_after),
            _permissions().label("permissions"),
        )
        .where(col(User.is_active))
        .subquery("access")
    )


USER = Query(_USER.where(col(User.id) == bindparam("id")))
ME = Query(_USER.add_columns(col(User.pending_email)).where(col(User.id) == bindparam("id")))
AUTHORS = Query(
    select(col(User.id), col(User.username), col(User.full_name)).where(
        col(User.id) == func.any(bindparam("ids"))
    )
)
_CREDENTIALS: Select[*tuple[Any, ...]] = select(
    col(User.id).label("user_id"),
    col(User.email),
    col(User.username),
    col(User.password_hash),
    col(User.is_active),
    col(User.is_verified),
)
CREDENTIALS = Query(
    _CREDENTIALS.where(
        or_(
            func.lower(User.email) == func.lower(bindparam("name")),
            func.lower(User.username) == func.lower(bindparam("name")),
        )
    )
)
CREDENTIALS_OF = Query(_CREDENTIALS.where(col(User.id) == bindparam("id")))
USERS = Listing(
    name="users",
    statement=_USER,
    key=col(User.id),
    sorts={
        "created_at": col(User.created_at),
        "updated_at": col(User.updated_at),
        "email": func.lower(User.email, type_=String()),
        "username": func.coalesce(func.lower(User.username, type_=String()), ""),
    },
    filters={
        "is_active": Filter(
            Boolean, lambda value: col(User.is_active) == value, "Who may sign in."
        ),
        "is_verified": Filter(
            Boolean, lambda value: col(User.is_verified) == value, "Whose address is verified."
        ),
        "role": Filter(
            Annotated[str, Trimmed(50)],
            lambda name: exists().where(
                col(UserRole.user_id) == col(User.id), col(UserRole.role_name) == name
            ),
            "Who has this role.",
        ),
        **created_filters(col(User.created_at)),
    },
    search=Search(
        lambda part: or_(
            col(User.email).ilike(part),
            col(User.username).ilike(part),
            col(User.full_name).ilike(part),
        ),
        prepare=containing,
        description="Part of the e-mail address, username or full name.",
    ),
)
