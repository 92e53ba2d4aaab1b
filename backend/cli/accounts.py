"""`backend users create-admin`, and the context for commands that work on accounts."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import SecretStr, ValidationError

from backend.cli import configuration
from backend.cli.configuration import Loaded
from backend.cli.databases import reachable_database
from backend.cli.schema import bring_to_head, require_newest
from backend.cli.terminal import CommandError, say
from backend.core.app import create_context
from backend.core.context import Context
from backend.core.features import ADMIN_ROLE
from backend.core.module import Module
from backend.core.principal import SYSTEM
from backend.core.settings import Settings, SettingsBase
from backend.modules.roles import service as roles
from backend.modules.users import service as users
from backend.modules.users.exceptions import EmailAlreadyExistsError, PasswordRefusedError
from backend.modules.users.schemas import Registration


def create_admin(email: str | None, password: str | None) -> None:
    found = configuration.load()
    account = _asked(email, password)
    with ready_context(found) as context:
        asyncio.run(_create(context, account))
    say(f"Made {account.email} an administrator.")


@contextmanager
def ready_context(
    configured: tuple[Settings, Loaded, tuple[Module, ...]] | None = None,
) -> Iterator[Context]:
    """Yield a context with a migrated database.

    An embedded database is migrated if necessary; for another one raise `CommandError` unless it
    is at the newest revision.
    """
    settings, loaded, modules = configured or configuration.load()
    with reachable_database(settings, needs_session=False) as place:
        if place.server is not None:
            bring_to_head(place.url)
        else:
            require_newest(place.url)
        here = settings.model_copy(update={"database_url": SecretStr(place.url)})
        everything: dict[type[SettingsBase], SettingsBase] = {**loaded, Settings: here}
        yield create_context(modules, everything)


def _asked(email: str | None, password: str | None) -> Registration:
    """Return the account as given or typed; raise `CommandError` if it is invalid."""
    if (email is None or password is None) and not sys.stdin.isatty():
        raise CommandError(
            "There is no terminal to ask in: give --email, and the password in the environment "
            "variable FIRST_ADMIN_PASSWORD."
        )
    if email is None:
        email = str(typer.prompt("E-mail address"))
    if password is None:
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    try:
        return Registration(email=email, password=password)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise CommandError(f"The {first['loc'][0]} is refused ({message}): try another.") from None


async def _create(context: Context, account: Registration) -> None:
    try:
        hashed = await users.hash_new_password(context, account.password, names=[account.email])
        async with context.database.transaction() as session:
            # The API creates the built-in roles at its first start, which may still be to come.
            await roles.sync(session, SYSTEM, context.features)
            await users.add_user(
                session,
                SYSTEM,
                email=account.email,
                password_hash=hashed,
                is_verified=True,
                roles=(ADMIN_ROLE,),
            )
    except EmailAlreadyExistsError:
        raise CommandError(
            f"There is an account {account.email} already: choose another address, or let an "
            "administrator give it the role admin (PUT /api/v1/users/{id}/roles)."
        ) from None
    except PasswordRefusedError as error:
        message = error.errors[0].message.rstrip(".")
        raise CommandError(f"The password is refused ({message}): try another.") from None
    finally:
        await context.close()
