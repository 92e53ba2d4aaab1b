"""Roles: the use cases. Built-in ones are kept in step with what the modules declare.

A permission whose module is gone stays in the roles that hold it, as during a rolling update the
older version must not undo what the newer one granted. It can be kept or taken away, not given.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Subquery, func
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.errors import FieldError, PermissionDeniedError
from backend.core.http.pagination import Page
from backend.core.permissions import ADMIN_ROLE, Feature
from backend.core.principal import Principal
from backend.db.base import utc_now
from backend.db.lists.pages import ListQuery, fetch_page
from backend.db.query_runner import QueryRunner
from backend.modules.audit import service as audit
from backend.modules.roles import queries
from backend.modules.roles.exceptions import (
    RoleAlreadyExistsError,
    RoleInUseError,
    RoleNotFoundError,
    RoleProtectedError,
    UnknownPermissionError,
    UnknownRoleError,
)
from backend.modules.roles.models import Permission, Role
from backend.modules.roles.schemas import (
    BUILT_IN_ROLES,
    ROLE_NAME,
    ActionOut,
    FeatureOut,
    RoleCreate,
    RoleOut,
    RoleUpdate,
)

# Any number no other lock of this application uses.
_SYNC_LOCK = 7_265_312
_TOLD = ("description", "permissions")


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
    declared = _declared(features)
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


def _declared(features: Iterable[Feature]) -> set[str]:
    return {name for feature in features for name in feature.permissions}


def _granted(features: Iterable[Feature], role: str) -> set[str]:
    return {
        f"{feature.name}:{action}"
        for feature in features
        for action in feature.granted_to.get(role, ())
    }


def grants() -> Subquery:
    """(role_name, permissions), for statements of other modules to join."""
    return select(col(Role.name).label("role_name"), col(Role.permissions)).subquery("grants")


async def permissions_of(session: AsyncSession, roles: Sequence[str]) -> frozenset[str]:
    """All that these roles permit together; `UnknownRoleError` if one does not exist.

    None of them can be deleted before the transaction ends.
    """
    statement = select(Role.name, Role.permissions).where(col(Role.name).in_(roles))
    statement = statement.with_for_update(read=True, key_share=True)
    found = dict((await session.exec(statement)).all())
    if unknown := [position for position, name in enumerate(roles) if name not in found]:
        raise UnknownRoleError(unknown)
    return frozenset(permission for held in found.values() for permission in held)


async def lock_existing(session: AsyncSession, names: Collection[str]) -> frozenset[str]:
    """Those of these roles that exist. None can be deleted before the transaction ends."""
    statement = select(Role.name).where(col(Role.name).in_(names)).order_by(col(Role.name))
    statement = statement.with_for_update(read=True, key_share=True)
    return frozenset(await session.exec(statement))


async def role_errors(context: Context, roles: Sequence[str]) -> list[FieldError]:
    """Which of these roles do not exist."""
    async with context.database.transaction() as session:
        try:
            await permissions_of(session, roles)
        except UnknownRoleError as refused:
            return list(refused.errors)
    return []


async def list_permissions(
    reader: QueryRunner, features: Iterable[Feature], query: ListQuery
) -> Page[FeatureOut]:
    """Everything that can be permitted, by feature; two modules may declare parts of one."""
    told: dict[str, FeatureOut] = {}
    for feature in features:
        empty = FeatureOut(feature=feature.name, description=feature.description, actions=[])
        told.setdefault(feature.name, empty).actions += [
            ActionOut(action=action, permission=f"{feature.name}:{action}", description=text)
            for action, text in feature.actions.items()
        ]
    declared = json.dumps([each.model_dump() for each in told.values()])
    page = await fetch_page(reader, queries.PERMISSIONS, query, declared=declared)
    return Page.from_rows(page, FeatureOut.model_validate)


async def list_roles(reader: QueryRunner, query: ListQuery) -> Page[RoleOut]:
    return Page.from_rows(await fetch_page(reader, queries.ROLES, query), RoleOut.from_row)


async def get_role(reader: QueryRunner, name: str) -> RoleOut:
    row = await reader.first(queries.ROLE, name=name) if _is_name(name) else None
    if row is None:
        raise RoleNotFoundError
    return RoleOut.from_row(row)


async def create_role(
    session: AsyncSession, by: Principal, new: RoleCreate, features: Iterable[Feature]
) -> RoleOut:
    """A role with permissions that are all the caller's own, and declared by `features`."""
    _check_grantable(new.permissions, _declared(features), by)
    role = Role(
        name=new.name, description=new.description, permissions=sorted(set(new.permissions))
    )
    role.updated_at = role.created_at
    try:
        async with session.begin_nested():
            session.add(role)
            await session.flush()
    except IntegrityError:
        raise RoleAlreadyExistsError from None
    await _record(session, by, "role.create", role.name, {}, _snapshot(role))
    return RoleOut.from_row(role.model_dump())


async def update_role(
    session: AsyncSession,
    by: Principal,
    name: str,
    changes: RoleUpdate,
    features: Iterable[Feature],
) -> RoleOut:
    """Change what was sent. A role that holds more than the caller is out of their reach."""
    role = await _locked(session, name, by)
    before, sent = _snapshot(role), changes.model_dump()
    if "permissions" in sent:
        held = set(role.permissions)
        _check_grantable(sent["permissions"], held | _declared(features), by)
        if role.name == ADMIN_ROLE and not held <= set(sent["permissions"]):
            raise RoleProtectedError
        sent["permissions"] = sorted(set(sent["permissions"]))
    for member, value in sent.items():
        setattr(role, member, value)
    await session.flush()
    await _record(session, by, "role.update", name, before, _snapshot(role))
    return RoleOut.from_row(role.model_dump())


async def delete_role(session: AsyncSession, by: Principal, name: str) -> None:
    role = await _locked(session, name, by)
    if role.built_in:
        raise RoleProtectedError
    try:
        async with session.begin_nested():
            await session.delete(role)
            await session.flush()
    except IntegrityError:
        raise RoleInUseError from None
    await _record(session, by, "role.delete", name, _snapshot(role), {})


def _is_name(name: str) -> bool:
    """Whether a role may be called this; other texts may hold what no statement takes."""
    return re.fullmatch(ROLE_NAME.strip("^$"), name) is not None


async def _locked(session: AsyncSession, name: str, by: Principal) -> Role:
    """The role, which waits for nobody who gives it to somebody; nor do they wait for this."""
    found = None
    if _is_name(name):
        found = await session.get(Role, name, with_for_update={"key_share": True})
    if found is None:
        raise RoleNotFoundError
    if not by.permissions.issuperset(found.permissions):
        raise PermissionDeniedError
    return found


def _check_grantable(sent: Sequence[str], known: set[str], by: Principal) -> None:
    if unknown := [position for position, name in enumerate(sent) if name not in known]:
        raise UnknownPermissionError(unknown)
    if not by.permissions.issuperset(sent):
        raise PermissionDeniedError


def _snapshot(role: Role) -> dict[str, object]:
    return {member: getattr(role, member) for member in _TOLD}


async def _record(
    session: AsyncSession,
    by: Principal,
    action: str,
    name: str,
    before: dict[str, object],
    after: dict[str, object],
) -> None:
    changes = audit.changes_of(before, after)
    if changes or action != "role.update":
        await audit.record(
            session, action, target=("role", name), actor_id=by.user_id, changes=changes
        )
