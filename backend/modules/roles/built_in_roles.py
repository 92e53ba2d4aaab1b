"""Built-in roles, kept in step with what the modules declare."""

from collections.abc import Iterable

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.features import ADMIN_ROLE, Feature
from backend.core.principal import System
from backend.db.base import utc_now
from backend.modules.roles.models import Permission, Role
from backend.modules.roles.schemas import BUILT_IN_ROLES

# An arbitrary number that no other advisory lock of this application uses.
_SYNC_LOCK = 7_265_312


async def sync(session: AsyncSession, by: System, features: Iterable[Feature]) -> None:
    """Make the built-in roles, and grant them permissions that have never been seen before.

    A permission that an administrator took away from a role has been seen, and stays away.
    Nothing is removed: during a rolling update the older version starts, too.
    """
    by.must_be_system()
    features = list(features)
    await session.exec(select(func.pg_advisory_xact_lock(_SYNC_LOCK)))
    declared = declared_permissions(features)
    known = (await session.exec(select(Permission.name))).all()
    new = declared.difference(known)
    session.add_all(Permission(name=name) for name in new)
    # In one order, and without keeping anybody from giving these roles to somebody.
    locked = select(Role).order_by(col(Role.name)).with_for_update(key_share=True)
    roles = {role.name: role for role in await session.exec(locked)}
    for name, description in BUILT_IN_ROLES.items():
        role = roles.get(name) or Role(name=name, description=description, permissions=[])
        granted = declared if name == ADMIN_ROLE else new & _granted(features, name)
        if name not in roles or not granted <= set(role.permissions):
            role.built_in = True
            role.permissions = sorted({*role.permissions, *granted})
            role.updated_at = utc_now()
            session.add(role)
    await session.flush()


def declared_permissions(features: Iterable[Feature]) -> set[str]:
    return {name for feature in features for name in feature.permissions}


def _granted(features: Iterable[Feature], role: str) -> set[str]:
    return {
        f"{feature.name}:{action}"
        for feature in features
        for action in feature.granted_to.get(role, ())
    }
