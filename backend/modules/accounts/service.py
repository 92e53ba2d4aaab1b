"""Use cases of registration and mailed links. Jobs decide which mails are sent."""

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context
from backend.core.jobs import enqueue
from backend.core.principal import SYSTEM
from backend.modules.accounts import tokens
from backend.modules.accounts.exceptions import RegistrationClosedError, TokenInvalidError
from backend.modules.accounts.jobs import MAIL_NOTICE
from backend.modules.accounts.links import mail_link
from backend.modules.accounts.models import MailedToken
from backend.modules.accounts.tokens import Purpose, live_token, password_token
from backend.modules.audit import service as audit
from backend.modules.users import service as users
from backend.modules.users.schemas import Registration, UserOut
from backend.modules.users.service import Account


def check_registration_open(context: Context) -> None:
    """Raise `RegistrationClosedError` if only administrators may create accounts."""
    if users.registration_mode(context) == "closed":
        raise RegistrationClosedError


async def register(context: Context, session: AsyncSession, new: Registration) -> UserOut | None:
    """Create an account and mail it a link; return None in strict mode, which reveals nothing.

    Raise `RegistrationClosedError`, or `RateLimitedError` for too many registrations from one
    client, before any hashing.
    """
    check_registration_open(context)
    await users.count_mailed_link(context)
    names = (new.email, new.username)
    # Before the first statement, so that no connection waits for the hash.
    password_hash = await users.hash_new_password(
        context, new.password, names=names, lane="registration"
    )
    values = {**new.model_dump(exclude={"email", "password"}), "password_hash": password_hash}
    if users.registration_mode(context) == "strict":
        await mail_link(session, context, "registration", new.email, registration=values)
        return None
    user = await users.add_user(session, SYSTEM, email=new.email, **values)
    await mail_link(session, context, "verify", user.email, user_id=user.id)
    return user


async def request_link(context: Context, purpose: Purpose, email: str) -> None:
    """Mail a link to this address if it belongs to an account that may use the link.

    The job looks up the account. The request does the same work for every address, so neither the
    response nor its time reveals an account. Raise `RateLimitedError` for too many requests from
    one client.
    """
    await users.count_mailed_link(context)
    async with context.database.transaction() as session:
        await mail_link(session, context, purpose, email)


async def reset_password(context: Context, text: str, new_password: str) -> None:
    """Set the password of the account that was mailed this token, and end its sessions.

    Raise `TokenInvalidError`, or `PasswordRefusedError`, which does not use up the token.
    """
    token, names = await password_token(context, text)
    new_hash = await users.hash_new_password(
        context, new_password, names=names, field="new_password"
    )
    async with context.database.transaction() as session:
        account = await _use(session, token)
        await users.reset_password(context, session, SYSTEM, account.user_id, new_hash)
        await audit.record(
            session,
            "auth.password_reset",
            target=("user", account.user_id),
            actor_id=account.user_id,
            changes={"by": token.purpose},
        )
        if token.purpose == "reset":
            await enqueue(session, MAIL_NOTICE, token_id=str(token.id))


async def verify_email(context: Context, text: str) -> None:
    """Verify or change an address, or create the account of a registration, by the token's purpose.

    Raise `TokenInvalidError`; `EmailAlreadyExistsError` or `UsernameAlreadyExistsError` if another
    account has taken the address or username meanwhile.
    """
    token = await live_token(context, text, "verify", "email_change", "registration")
    async with context.database.transaction() as session:
        if token.registration is not None:
            if not await tokens.use(session, token.id):
                raise TokenInvalidError
            await users.add_user(
                session, SYSTEM, email=token.email, is_verified=True, **token.registration
            )
            return
        account = await _use(session, token)
        new_email = token.email if token.purpose == "email_change" else None
        await users.verify_email(context, session, SYSTEM, account.user_id, new_email)


async def _use(session: AsyncSession, token: MailedToken) -> Account:
    """Use up the token and return its account, locked; `TokenInvalidError` if it has ended."""
    account = await users.lock_account(session, SYSTEM, user_id=token.user_id)
    if account is None or not tokens.matches_account(token, account):
        raise TokenInvalidError
    if not await tokens.use(session, token.id):
        raise TokenInvalidError
    return account
