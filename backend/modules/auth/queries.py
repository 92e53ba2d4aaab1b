"""Reads of sessions, as constant statements."""

from sqlalchemy import ColumnElement, Double, bindparam, cast, func, select
from sqlalchemy.types import Interval
from sqlmodel import col

from backend.core.lists import ResourceList
from backend.core.personal_data import counts
from backend.db.queries import KeyedQuery, Query
from backend.modules.auth.models import UserSession
from backend.modules.auth.schemas import SessionOut
from backend.modules.users.service import access


def alive() -> tuple[ColumnElement[bool], ...]:
    return (col(UserSession.revoked_at).is_(None), col(UserSession.expires_at) > func.now())


_access = access()
_not_outlived = col(UserSession.created_at) >= _access.c.sessions_valid_after
# The same condition for UPDATE statements, which have no join.
OF_ACTIVE_USER = (
    select(_access.c.user_id)
    .where(_access.c.user_id == col(UserSession.user_id), _not_outlived)
    .correlate(UserSession)
    .exists()
)

# The permissions of a live session of an active user, in one indexed read.
_identity = (
    select(col(UserSession.id), col(UserSession.user_id), _access.c.permissions)
    .select_from(UserSession)
    .join(_access, _access.c.user_id == col(UserSession.user_id))
    .where(
        _not_outlived,
        *alive(),
    )
)
IDENTITY = KeyedQuery(_identity, col(UserSession.id))
# With a replica, also the seconds since the session wrote; null if it never did.
_since_write = func.extract("epoch", func.now() - col(UserSession.wrote_at))
IDENTITY_AND_WRITES = KeyedQuery(
    _identity.add_columns(cast(_since_write, Double).label("seconds_since_write")),
    col(UserSession.id),
)
# The session of a refresh token, and the digest of its current token.
REFRESHABLE = Query(
    select(
        col(UserSession.user_id),
        col(UserSession.transport),
        col(UserSession.token_digest),
        col(UserSession.expires_at),
        (col(UserSession.rotated_at) > func.now() - bindparam("grace", type_=Interval())).label(
            "in_grace"
        ),
    )
    .select_from(UserSession)
    .join(_access, _access.c.user_id == col(UserSession.user_id))
    .where(col(UserSession.id) == bindparam("session_id"), _not_outlived, *alive())
)
SESSIONS = ResourceList(
    schema=SessionOut,
    name="sessions",
    statement=select(
        col(UserSession.id),
        col(UserSession.created_at),
        col(UserSession.last_used_at),
        col(UserSession.expires_at),
        col(UserSession.ip),
        col(UserSession.user_agent),
    )
    .join(_access, _access.c.user_id == col(UserSession.user_id))
    .where(_not_outlived, *alive()),
    key=col(UserSession.id),
    sorts={
        "created_at": col(UserSession.created_at),
        "last_used_at": col(UserSession.last_used_at),
    },
    scopes={"user_id": lambda user: col(UserSession.user_id) == user},
    computed={"current": ("id",)},
    small="An account has at most MAX_SESSIONS_PER_USER sessions, found by its id.",
)
STATISTICS = counts(SESSIONS, "user_id", sessions=None)
