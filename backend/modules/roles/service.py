"""Built-in roles, kept in step with what the modules declare."""

from collections.abc import Collection, Iterable

from sqlalchemy import Subquery, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.permissions import ADMIN_ROLE, BUILT_IN_ROLES, Feature
from backend.db.base import utc_now
from backend.modules.roles.exceptions import UnknownRoleError
from backend.modules.roles.models import Permission, Role

# Any number no other lock of this application uses.
_SYNC_LOCK = 7_265_312


async def sync_on_start(context: Context) -> None:
    async with context.database.transaction() as session:
        await sync(session, context.features)


async def sync(session: AsyncSession, features: Iterable[Feature]) -> None:
    """Make the built-in roles, and grant them permissions that have never been seen before.

    A permission that an administrator took away from a role has been seen, and stays away.
    Nothing is removed: during a rolling update the older version starts, too.
    """
    features = list(features)
    await session.exec(select(func.pg_advisory_xact_lock(_SYNC_LOCK)))
    declared = {name for feature in features for name in feature.permissions}
    known = (await session.exec(select(Permission.name))).all()
    new = declared.difference(known)
    session.add_all(Permission(name=name) for name in new)
    roles = {role.name: role for role in await session.exec(select(Role).with_for_update())}
    for name, description in BUILT_IN_ROLES.items():
        role = roles.get(name) or Role(name=name, description=description, permissions=[])
        granted = declared if name == ADMIN_ROLE else new & _granted(features, name)
        if name not in roles or not granted <= set(role.permissions):
            role.built_in = True
            role.permissions = sorted({*role.permissions, *granted})
            role.updated_at = utc_now()
            session.add(role)
    await session.flush()


def _granted(features: Iterable[Feature], role: str) -> set[str]:
    return {
        f"{feature.name}:{action}"
        for feature in features
        for action in feature.granted_to.get(role, ())
    }


def grants() -> Subquery:
    """(role_name, permissions), for statements of other modules to join."""
    return select(col(Role.name).label("role_name"), col(Role.permissions)).subquery("grants")


async def permissions_of(session: AsyncSession, roles: Collection[str]) -> frozenset[str]:
    """All that these roles permit together; `UnknownRoleError` if one does not exist."""
    found = (await session.exec(select(Role).where(col(Role.name).in_(roles)))).all()
    if len(found) < len(set(roles)):
        raise UnknownRoleError
    return frozenset(permission for role in found for permission in role.permissions)
