"""Use cases of roles.

A permission whose module is gone stays in the roles that hold it: during a rolling update the older
version must not undo what the newer one granted. It can be removed from a role but not granted.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Subquery
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.constraints import constraint_errors
from backend.core.context import Context
from backend.core.errors import FieldError, PermissionDeniedError
from backend.core.features import ADMIN_ROLE, Feature
from backend.core.lists import Page, read_page
from backend.core.preconditions import check_preconditions
from backend.core.principal import Caller
from backend.db.lists.pages import fetch_page
from backend.db.lists.specs import ListQuery
from backend.db.query_runner import QueryRunner, Row
from backend.modules.audit import service as audit
from backend.modules.roles import queries
from backend.modules.roles.built_in_roles import declared_permissions, sync
from backend.modules.roles.exceptions import (
    RoleAlreadyExistsError,
    RoleInUseError,
    RoleNotFoundError,
    RoleProtectedError,
    UnknownPermissionError,
    UnknownRoleError,
)
from backend.modules.roles.models import Role
from backend.modules.roles.schemas import (
    ROLE_NAME,
    ActionOut,
    FeatureOut,
    RoleCreate,
    RoleOut,
    RoleUpdate,
)

# Defined in a file that other modules do not see.
__all__ = ["sync"]

_RECORDED = ("description", "permissions")


def grants() -> Subquery:
    """(role_name, permissions), for statements of other modules to join."""
    return select(col(Role.name).label("role_name"), col(Role.permissions)).subquery("grants")


async def permissions_of(session: AsyncSession, by: Caller, roles: Sequence[str]) -> frozenset[str]:
    """Return the permissions of these roles; raise `UnknownRoleError` if one does not exist.

    The roles cannot be deleted before the transaction ends.
    """
    by.must("roles:read")
    statement = select(Role.name, Role.permissions).where(col(Role.name).in_(roles))
    statement = statement.with_for_update(read=True, key_share=True)
    found = dict((await session.exec(statement)).all())
    if unknown := [position for position, name in enumerate(roles) if name not in found]:
        raise UnknownRoleError(unknown)
    return frozenset(permission for held in found.values() for permission in held)


async def lock_existing(
    session: AsyncSession, by: Caller, names: Collection[str]
) -> frozenset[str]:
    """Return the names that exist. Their roles cannot be deleted before the transaction ends."""
    by.must("roles:read")
    statement = select(Role.name).where(col(Role.name).in_(names)).order_by(col(Role.name))
    statement = statement.with_for_update(read=True, key_share=True)
    return frozenset(await session.exec(statement))


async def role_errors(context: Context, by: Caller, roles: Sequence[str]) -> list[FieldError]:
    """Return an error for each role that does not exist."""
    async with context.database.transaction() as session:
        try:
            await permissions_of(session, by, roles)
        except UnknownRoleError as refused:
            return list(refused.errors)
    return []


async def list_permissions(
    reader: QueryRunner, features: Iterable[Feature], query: ListQuery
) -> Page[FeatureOut]:
    """Everything that can be permitted, by feature; two modules may declare parts of one."""
    by_name: dict[str, FeatureOut] = {}
    for feature in features:
        empty = FeatureOut(feature=feature.name, description=feature.description, actions=[])
        by_name.setdefault(feature.name, empty).actions += [
            ActionOut(action=action, permission=f"{feature.name}:{action}", description=text)
            for action, text in feature.actions.items()
        ]
    declared = json.dumps([each.model_dump() for each in by_name.values()])
    page = await fetch_page(reader, queries.PERMISSIONS, query, declared=declared)
    return Page.from_rows(page, _feature)


def _feature(row: Row) -> FeatureOut:
    actions = [ActionOut.from_row(action) for action in row["actions"] or ()]
    return FeatureOut.from_row({**row, "actions": actions})


async def list_roles(reader: QueryRunner, by: Caller, query: ListQuery) -> Page[RoleOut]:
    by.must("roles:read")
    return await read_page(reader, queries.ROLES, query)


async def get_role(reader: QueryRunner, by: Caller, name: str) -> RoleOut:
    by.must("roles:read")
    row = await reader.first(queries.ROLE, name=name) if _is_name(name) else None
    if row is None:
        raise RoleNotFoundError
    return RoleOut.from_row(row)


async def create_role(
    session: AsyncSession, by: Caller, new: RoleCreate, features: Iterable[Feature]
) -> RoleOut:
    """A role with permissions that are all the caller's own, and declared by `features`."""
    by.must("roles:write")
    declared = declared_permissions(features)
    _check_grantable(new.permissions, declared, by)
    _check_known(new.permissions, declared)
    role = Role(
        name=new.name, description=new.description, permissions=sorted(set(new.permissions))
    )
    role.updated_at = role.created_at
    async with constraint_errors(session, {"pk_roles": RoleAlreadyExistsError}):
        session.add(role)
    await _record(session, by, "role.create", role.name, {}, _snapshot(role))
    return _to_schema(role)


async def update_role(
    session: AsyncSession,
    by: Caller,
    name: str,
    changes: RoleUpdate,
    features: Iterable[Feature],
) -> RoleOut:
    """Change what was sent. A role that holds more than the caller is out of their reach."""
    by.must("roles:write")
    role = await _locked(session, by, name)
    before, sent = _snapshot(role), changes.model_dump()
    held, wanted = set(role.permissions), sent.get("permissions", ())
    known = held | declared_permissions(features)
    _check_grantable(wanted, known, by)
    await check_preconditions(lambda: _to_schema(role))
    _check_known(wanted, known)
    if "permissions" in sent:
        if role.name == ADMIN_ROLE and not held <= set(wanted):
            raise RoleProtectedError
        sent["permissions"] = sorted(set(wanted))
    for member, value in sent.items():
        setattr(role, member, value)
    await session.flush()
    await _record(session, by, "role.update", name, before, _snapshot(role))
    return _to_schema(role)


async def delete_role(session: AsyncSession, by: Caller, name: str) -> None:
    by.must("roles:write")
    role = await _locked(session, by, name)
    await check_preconditions(lambda: _to_schema(role))
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
    """Return whether a role can have this name. Other texts may contain NUL, which is an error."""
    return re.fullmatch(ROLE_NAME.strip("^$"), name) is not None


async def _locked(session: AsyncSession, by: Caller, name: str) -> Role:
    """Return the role, locked until the transaction ends.

    FOR NO KEY UPDATE does not block, or wait for, transactions that assign the role.
    """
    found = None
    if _is_name(name):
        found = await session.get(Role, name, with_for_update={"key_share": True})
    if found is None:
        raise RoleNotFoundError
    if not by.may_all(set(found.permissions)):
        raise PermissionDeniedError
    return found


def _check_grantable(sent: Sequence[str], known: set[str], by: Caller) -> None:
    """Raise `PermissionDeniedError` if `by` lacks one of the known permissions."""
    if not by.may_all(known.intersection(sent)):
        raise PermissionDeniedError


def _check_known(sent: Sequence[str], known: set[str]) -> None:
    if unknown := [position for position, name in enumerate(sent) if name not in known]:
        raise UnknownPermissionError(unknown)


def _to_schema(role: Role) -> RoleOut:
    return RoleOut.from_row(role.model_dump())


def _snapshot(role: Role) -> dict[str, object]:
    return {member: getattr(role, member) for member in _RECORDED}


async def _record(
    session: AsyncSession,
    by: Caller,
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
