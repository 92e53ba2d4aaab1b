"""Reads of accounts, as constant statements."""

from typing import Annotated, Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Date,
    Select,
    String,
    Subquery,
    Text,
    bindparam,
    cast,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import Grouping
from sqlmodel import col

from backend.addresses.account_names import name_key
from backend.core.lists import Boolean, ResourceList, created_filters
from backend.core.schemas import Trimmed
from backend.db.lists.specs import Filter, Search, containing
from backend.db.queries import KeyedQuery, Query, SharedQuery
from backend.modules.files import service as files
from backend.modules.roles.service import grants
from backend.modules.users.models import User, UserRole
from backend.modules.users.schemas import UserOut

_roles = func.array(
    select(col(UserRole.role_name))
    .where(col(UserRole.user_id) == col(User.id))
    # By code point, as in Python: the order is part of the entity tag.
    .order_by(col(UserRole.role_name).collate("C"))
    .correlate(User)
    .scalar_subquery()
)
# Null without an avatar.
_avatar_url = literal_column(f"'{files.PUBLIC_PATH}'", String) + col(User.avatar_key)
_USER = select(
    col(User.id),
    col(User.email),
    col(User.username),
    col(User.full_name),
    col(User.is_active),
    col(User.is_verified),
    _roles.label("roles"),
    _avatar_url.label("avatar_url"),
    col(User.created_at),
    col(User.updated_at),
)


def _permissions() -> ColumnElement[str]:
    """Return the expression for a user's permissions in one text, separated by spaces.

    Parsing one text is cheaper than parsing an array.
    """
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
    """Return the subquery of `service.access`."""
    return (
        select(
            col(User.id).label("user_id"),
            col(User.sessions_valid_after),
            _permissions().label("permissions"),
        )
        .where(col(User.is_active))
        .subquery("access")
    )


USER = KeyedQuery(_USER, col(User.id))
ME = KeyedQuery(_USER.add_columns(col(User.pending_email)), col(User.id))
_AUTHOR = select(col(User.id), col(User.username), col(User.full_name))
AUTHOR = KeyedQuery(_AUTHOR, col(User.id))
AUTHORS = Query(_AUTHOR.where(col(User.id) == func.any(bindparam("ids"))))
_ACCOUNT: Select[*tuple[Any, ...]] = select(
    col(User.id).label("user_id"),
    col(User.email),
    col(User.username),
    col(User.password_hash),
    col(User.is_active),
    col(User.is_verified),
    col(User.pending_email),
)
ACCOUNT_BY_NAME = SharedQuery(
    _ACCOUNT.where(
        or_(
            col(User.email_key) == bindparam("key"),
            col(User.username_key) == bindparam("key"),
        )
    )
)
COUNTS = Query(
    select(
        func.count().label("total"),
        func.count().filter(col(User.is_active)).label("active"),
        func.count().filter(col(User.is_verified)).label("verified"),
    ).select_from(User)
)
_date = cast(func.timezone("UTC", col(User.created_at)), Date)
NEW_PER_DAY = Query(
    select(_date.label("date"), func.count().label("count"))
    .where(col(User.created_at) >= bindparam("since"))
    .group_by(_date)
)
ACCOUNT = Query(_ACCOUNT.where(col(User.id) == bindparam("id")))


def _patterns(part: str) -> list[str]:
    return [containing(name_key(part)), containing(part)]


def _matches(patterns: BindParameter[Any]) -> ColumnElement[bool]:
    pattern = Grouping(cast(patterns, ARRAY(Text)))
    return or_(
        col(User.email_key).like(pattern[1]),
        col(User.username_key).like(pattern[1]),
        # Full names have no stored key; ILIKE ignores case by the rules of the database's locale.
        col(User.full_name).ilike(pattern[2]),
    )


# As in its index, which no parameter matches.
_USERNAME = func.coalesce(col(User.username_key), literal_column("''"))
USERS = ResourceList(
    schema=UserOut,
    name="users",
    statement=_USER,
    key=col(User.id),
    sorts={
        "created_at": col(User.created_at),
        "updated_at": col(User.updated_at),
        "email": col(User.email_key),
        "username": _USERNAME,
    },
    filters={
        "is_active": Filter(
            Boolean, lambda value: col(User.is_active) == value, "Whether the account is enabled."
        ),
        "is_verified": Filter(
            Boolean,
            lambda value: col(User.is_verified) == value,
            "Whether the address is verified.",
        ),
        "role": Filter(
            Annotated[str, Trimmed(50)],
            lambda name: exists().where(
                col(UserRole.user_id) == col(User.id), col(UserRole.role_name) == name
            ),
            "Accounts with this role.",
        ),
        **created_filters(col(User.created_at)),
    },
    search=Search(
        _matches,
        prepare=_patterns,
        description="Part of the e-mail address, username or full name.",
    ),
    unindexed={
        "role": "The members of a role are in another table than the time of creation: they are "
        "either sorted, if they are few, or met on a walk through all users."
    },
)
