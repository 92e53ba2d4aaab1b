"""The part of `backend db check` that refuses migrations which block an application in use."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from backend.cli.schema import move, position, translated_errors
from backend.cli.terminal import CommandError
from backend.db.schema.migrations import alembic_config, newest_revision, revisions

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script
    from sqlalchemy import Connection

# Databases that have the migrations up to this one do not run them again, and new ones run them on
# empty tables: they are older than this check, and some of them lock.
UNCHECKED = "0013"
EXPLANATION = "Migrations that disturb the release that serves while they run are refused:"


def is_needed() -> bool:
    """Return whether there are migrations to check."""
    return newest_revision() != UNCHECKED


def upgrade_observed(url: str) -> None:
    """Run the missing migrations; raise `CommandError` for those that block."""
    refusals: list[str] = []
    try:
        _check(url, refusals)
    except CommandError as error:
        if not refusals:
            raise
        raise _refused([*refusals, str(error)]) from error
    if refusals:
        raise _refused(refusals)


def _refused(refusals: list[str]) -> CommandError:
    return CommandError("\n".join([EXPLANATION, *refusals]))


def _check(url: str, refusals: list[str]) -> None:
    """Run the missing migrations, and add the refusals of each to `refusals`."""
    from alembic import command
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

    from backend.db.schema.locks import observed

    if position(url) is None and UNCHECKED in revisions()[1]:
        move(url, UNCHECKED)
    with translated_errors(url), alembic_config(url) as config:
        connection = config.attributes["connection"]
        assert isinstance(connection, Connection)
        scripts = ScriptDirectory.from_config(config).iterate_revisions("head", position(url))
        for script in reversed(list(scripts)):
            file = Path(script.path)
            with observed(connection, file) as observation:
                command.upgrade(config, script.revision)
            refused = list(_unexcused(file, script.module, observation.breaches))
            refusals += refused
            if observation.autocommit and not refused:
                _require_repeatable(config, connection, script)


def _require_repeatable(config: "Config", connection: "Connection", script: "Script") -> None:
    """Raise `CommandError` if the migration fails after its own steps, as after an interruption."""
    from alembic import command
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    former = text("UPDATE alembic_version SET version_num = :former")
    connection.execute(former, {"former": script.down_revision})
    connection.commit()
    try:
        command.upgrade(config, script.revision)
    except DBAPIError as error:
        connection.rollback()
        reason = str(error.orig).strip().partition("\n")[0]
        name = Path(script.path).name
        raise CommandError(
            f"{name} cannot run again after an interruption ({reason}), although each statement "
            "of an autocommit_block, and all that precedes it, stays: let every step before its "
            "end allow for what is done already, with `if_not_exists=True` or `if_exists=True`."
        ) from error


def _unexcused(file: Path, module: ModuleType, breaches: dict[str, str]) -> Iterator[str]:
    unsafe = getattr(module, "unsafe", {})
    if not isinstance(unsafe, dict):
        yield f'{file.name}: `unsafe` is a dict, as in `unsafe = {{"index on items": "reason"}}`.'
        return
    yield from (words for name, words in breaches.items() if name not in unsafe)
    for name, reason in unsafe.items():
        if name not in breaches:
            yield f"{file.name}: `unsafe` excuses {name!r}, which it does not do: remove the entry."
        elif not isinstance(reason, str) or not reason.strip():
            yield f"{file.name}: `unsafe` gives no reason for {name!r}: write it."
