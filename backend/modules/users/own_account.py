"""Use cases of owners: changing their own account and password; its public part as an author."""

from collections.abc import Collection, Mapping
from typing import BinaryIO
from uuid import UUID

from pydantic import MISSING
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core import limits
from backend.core.context import Context
from backend.core.errors import FieldError, InvalidInputError, InvalidTokenError
from backend.core.events import publish
from backend.core.limits import RateLimitedError, Rule
from backend.core.preconditions import check_preconditions
from backend.core.principal import SYSTEM, Principal
from backend.db.query_runner import QueryRunner
from backend.db.session_reader import RowReader
from backend.modules.audit import service as audit
from backend.modules.files import service as files
from backend.modules.files.schemas import Upload
from backend.modules.users import queries
from backend.modules.users.changes import (
    lock_user,
    store_changes,
    to_own_schema,
)
from backend.modules.users.events import (
    EmailChangeCancelled,
    EmailChangeRequested,
    PasswordChanged,
)
from backend.modules.users.exceptions import (
    CurrentPasswordWrongError,
    EmailAlreadyExistsError,
    UserNotFoundError,
)
from backend.modules.users.password_attempts import (
    confirm_password,
    find_account,
    holds_password,
    lock_account,
    own_account,
    store_password,
)
from backend.modules.users.passwords import hash_new_password, password_errors
from backend.modules.users.schemas import (
    AVATAR_BYTES,
    Account,
    AccountUpdate,
    Author,
    MeOut,
    PasswordChange,
)
from backend.modules.users.settings import UserSettings

PASSWORD_MISSING = FieldError(field="body.current_password", message="Is required.", code="missing")
AVATAR_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
# Requested changes of address per account.
EMAIL_CHANGES = Rule(5, 3600, "changes of address")
_UNCHANGED = FieldError(
    field="body.new_password", message="Must differ from the old one.", code="unchanged"
)


async def get_me(reader: QueryRunner, by: Principal) -> MeOut:
    row = await reader.find(queries.ME, by.user_id)
    if row is None:
        # The account and its sessions were deleted after the request began.
        raise InvalidTokenError
    return MeOut.from_row(row)


async def author(reader: RowReader, user_id: UUID) -> Author | None:
    """Return the public part of this account, or None if there is none."""
    row = await reader.find(queries.AUTHOR, user_id)
    return None if row is None else Author.from_row(row)


async def authors(reader: RowReader, ids: Collection[UUID]) -> dict[UUID, Author]:
    """Return the public part of these accounts, with one read."""
    rows = await reader.all(queries.AUTHORS, ids=list(set(ids))) if ids else []
    return {row["id"]: Author.from_row(row) for row in rows}


async def update_me(context: Context, by: Principal, changes: AccountUpdate) -> MeOut:
    """Change the fields that were sent. A new address is pending until it is verified."""
    # Before the checks of the address, and once more when the account is locked.
    await check_preconditions(lambda: get_me(context.database.primary, by))
    wanted = None if changes.email is MISSING else changes.email
    confirmed = None
    if wanted is not None and wanted != (await own_account(context, by)).email:
        confirmed = await _confirm_current_password(context, by, changes)
        await _ensure_available(context, by, wanted)
        await _count_change(context, by)
    values = changes.model_dump(exclude={"email", "current_password"})
    async with context.database.transaction() as session:
        account = await lock_account(session, SYSTEM, user_id=by.user_id)
        if account is None:
            # The account was deleted after the request began.
            raise InvalidTokenError
        user, roles = await lock_user(session, by.user_id)
        await check_preconditions(lambda: to_own_schema(user, roles))
        if confirmed is not None and confirmed.password_hash != account.password_hash:
            raise CurrentPasswordWrongError
        if wanted == account.email:
            user.pending_email = None
            await publish(context, session, EmailChangeCancelled(by.user_id))
        elif wanted is not None and confirmed is not None:
            user.pending_email = wanted
            is_repeated = account.pending_email == wanted
            requested = EmailChangeRequested(by.user_id, wanted, account.email, is_repeated)
            await session.flush()
            await publish(context, session, requested)
        await store_changes(context, session, by, user, roles, values)
    return to_own_schema(user, roles)


async def replace_avatar(context: Context, by: Principal, image: BinaryIO) -> MeOut:
    """Set the principal's avatar: a PNG, JPEG or WebP of at most `AVATAR_BYTES`."""
    # Before the image is stored, and once more when the account is locked.
    await check_preconditions(lambda: get_me(context.database.primary, by))
    async with (
        files.uploaded(
            context,
            SYSTEM,
            image,
            max_bytes=AVATAR_BYTES,
            accepts=AVATAR_TYPES,
            is_public=True,
        ) as upload,
        context.database.transaction() as session,
    ):
        return await _change_avatar(context, session, by, upload)


async def delete_avatar(context: Context, by: Principal) -> None:
    """Remove the principal's avatar, if there is one."""
    async with context.database.transaction() as session:
        await _change_avatar(context, session, by, None)


async def _change_avatar(
    context: Context, session: AsyncSession, by: Principal, upload: Upload | None
) -> MeOut:
    try:
        user, roles = await lock_user(session, by.user_id)
    except UserNotFoundError:
        # The account was deleted after the request began.
        raise InvalidTokenError from None
    await check_preconditions(lambda: to_own_schema(user, roles))
    key = None
    if user.avatar_key is not None:
        await files.delete(context, session, SYSTEM, user.avatar_key)
    if upload is not None:
        key = await files.add(context, session, SYSTEM, upload, owner_id=by.user_id)
    await store_changes(context, session, by, user, roles, {"avatar_key": key})
    return to_own_schema(user, roles)


async def _confirm_current_password(
    context: Context, by: Principal, changes: AccountUpdate
) -> Account:
    if changes.current_password is MISSING:
        raise InvalidInputError(errors=[PASSWORD_MISSING])
    return await confirm_password(context, by, changes.current_password, action="user.update")


async def _ensure_available(context: Context, by: Principal, email: str) -> None:
    if context.settings_of(UserSettings).registration_mode == "strict":
        return
    owner = await find_account(context.database.primary, SYSTEM, email)
    if owner is not None and owner.user_id != by.user_id:
        raise EmailAlreadyExistsError


async def _count_change(context: Context, by: Principal) -> None:
    result = await limits.hit_cached(context, f"changes of address {by.user_id}", EMAIL_CHANGES)
    if not result.allowed:
        raise RateLimitedError(result)


async def password_change_errors(
    context: Context, by: Principal, sent: Mapping[str, str]
) -> list[FieldError]:
    """Return the errors of the new password; the current one is not checked."""
    if "new_password" not in sent:
        return []
    if sent["new_password"] == sent.get("current_password"):
        return [_UNCHANGED]
    account = await own_account(context, by)
    names = (account.email, account.username)
    return password_errors(context, sent["new_password"], names=names, field="new_password")


async def change_password(context: Context, by: Principal, change: PasswordChange) -> None:
    """Change the principal's password, which ends their other sessions."""
    await check_preconditions(lambda: get_me(context.database.primary, by))
    # An unacceptable new password is refused before any hashing.
    if errors := await password_change_errors(context, by, change.model_dump()):
        raise InvalidInputError(errors=errors)
    account = await confirm_password(
        context, by, change.current_password, action="auth.password_change"
    )
    new_hash = await hash_new_password(
        context,
        change.new_password,
        names=(account.email, account.username),
        field="new_password",
    )
    async with context.database.transaction() as session:
        await check_preconditions(lambda: _locked_me(session, by))
        if not await holds_password(session, account):
            raise CurrentPasswordWrongError
        await store_password(session, by.user_id, new_hash)
        await publish(context, session, EmailChangeCancelled(by.user_id))
        await publish(context, session, PasswordChanged(by.user_id, keep_session=by.session_id))
        await audit.record(
            session, "auth.password_change", target=("user", by.user_id), actor_id=by.user_id
        )


async def _locked_me(session: AsyncSession, by: Principal) -> MeOut:
    return to_own_schema(*await lock_user(session, by.user_id))
