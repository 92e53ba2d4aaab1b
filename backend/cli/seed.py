"""`backend db seed`: plausible data for a development database, the same each time."""

import asyncio
from collections.abc import Sequence
from random import Random
from uuid import UUID, uuid4

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.cli import configuration
from backend.cli.accounts import ready_context
from backend.cli.terminal import CommandError, say
from backend.core.context import Context
from backend.core.module import Module
from backend.core.principal import SYSTEM, Principal
from backend.modules.roles import service as roles
from backend.modules.users import service as users
from backend.modules.users.exceptions import (
    EmailAlreadyExistsError,
    UsernameAlreadyExistsError,
)

PASSWORD = "correct horse battery"  # of accounts in development
DOMAIN = "example.com"
FIRST_NAMES = [
    "Ada",
    "Alan",
    "Barbara",
    "Katherine",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "John",
]
LAST_NAMES = [
    "Allen",
    "Hopper",
    "Kernighan",
    "Knuth",
    "Lamarr",
    "Liskov",
    "Lovelace",
    "Shannon",
    "Turing",
    "Wirth",
]
USERS = 20


def run() -> None:
    configured = configuration.load()
    settings, _, modules = configured
    if settings.environment not in ("development", "test"):
        raise CommandError(
            "Example data is for development: set ENVIRONMENT=development, with another database."
        )
    with ready_context(configured) as context:
        created = asyncio.run(_seed(context, modules))
    for module, count in created.items():
        say(f"{module:<10} {count}")
    say(f"Sign in as ada.allen@{DOMAIN} (editor), or any other, with the password: {PASSWORD}")


async def _seed(context: Context, modules: Sequence[Module]) -> dict[str, int]:
    """Create everything in one transaction; return the number of rows by module."""
    random = Random(1)  # noqa: S311  # the same data each time
    hashed = await users.hash_new_password(context, PASSWORD, names=())
    try:
        async with context.database.transaction() as session:
            # The API creates the built-in roles at its first start, which may still be to come.
            await roles.sync(session, SYSTEM, context.features)
            people = [await _person(session, number, hashed) for number in range(USERS)]
            created = {"users": len(people)}
            for module in modules:
                if module.seed is not None:
                    created[module.name] = await module.seed(context, session, random, people)
            return created
    except (EmailAlreadyExistsError, UsernameAlreadyExistsError):
        raise CommandError("The database has example data already. Nothing was changed.") from None
    finally:
        await context.close()


async def _person(session: AsyncSession, number: int, password_hash: str) -> Principal:
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    # Each second round shifts the last names, so that no two people have the same name.
    last = LAST_NAMES[(number + number // len(FIRST_NAMES)) % len(LAST_NAMES)]
    role = "editor" if number < 3 else "viewer" if number == USERS - 1 else "member"
    user = await users.add_user(
        session,
        SYSTEM,
        email=f"{first}.{last}@{DOMAIN}".lower(),
        username=f"{first}.{last}".lower(),
        full_name=f"{first} {last}",
        password_hash=password_hash,
        is_verified=True,
        roles=(role,),
    )
    permissions = await roles.permissions_of(session, SYSTEM, [role])
    return Principal(user_id=user.id, session_id=_no_session(), permissions=permissions)


def _no_session() -> UUID:
    """Return the id of a session that does not exist."""
    return uuid4()
