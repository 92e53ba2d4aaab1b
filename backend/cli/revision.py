"""`backend db revision`: writes a migration for changed models."""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.cli.comparison import drift
from backend.cli.databases import reachable_database
from backend.cli.schema import bring_to_head, core_settings, translated_errors
from backend.cli.terminal import CommandError, say, shown
from backend.db.schema.migrations import alembic_config, next_revision

if TYPE_CHECKING:
    from backend.db.schema.drift import Drift


def revision(
    message: str, statements: Sequence[str] = (), unsafe: Mapping[str, str] | None = None
) -> None:
    """Write a migration for the differences between the models and the database.

    It begins with these statements in SQL, which do not change the schema. `unsafe` are its reasons
    for what `backend db check` refuses.
    """
    if not message.strip():
        raise CommandError('The migration needs a name: backend db revision "add invoices"')
    settings = core_settings()
    if not settings.is_local:
        raise CommandError("Migrations are written in development: set ENVIRONMENT=development.")
    with reachable_database(settings) as place:
        bring_to_head(place.url)
        differences = drift(place.url)
        if not differences.differences and not statements:
            say("There is nothing to migrate: the migrations make exactly the tables of the code.")
            return
        file = _write(place.url, message.strip(), differences, statements, unsafe)
    _tidy(file)
    if left := _left_over(differences):
        say(f"These differences are not generated; write them into the migration:\n{left}")
    say(f"Wrote {shown(file)}. Read it, then apply it with: backend db upgrade")


def _write(
    url: str,
    message: str,
    differences: "Drift",
    statements: Sequence[str] = (),
    unsafe: Mapping[str, str] | None = None,
) -> Path:
    from alembic import command
    from alembic.operations.ops import ExecuteSQLOp
    from alembic.script import Script

    from backend.db.schema.autogenerate import complete

    def completed(_context: Any, _revision: Any, directives: list[Any]) -> None:
        complete(directives[0], differences)
        directives[0].upgrade_ops.ops[:0] = [ExecuteSQLOp(each) for each in statements]

    with translated_errors(url), alembic_config(url) as config:
        config.attributes["unsafe"] = unsafe  # for migrations/script.py.mako
        script = command.revision(
            config,
            message=message,
            autogenerate=True,
            rev_id=next_revision(),
            process_revision_directives=completed,
        )
    assert isinstance(script, Script)
    return Path(script.path)


def _left_over(drift: "Drift") -> str:
    """Return a line for each difference that the generated migration does not resolve."""
    from backend.db.schema.autogenerate import is_written

    return "\n".join(
        line
        for each in drift.differences
        if not is_written(each)
        for line in each.described("the migrations")
    )


def _tidy(file: Path) -> None:
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        return
    # Definitions from the catalog are one string each, of any length.
    too_long = ["check", "--select", "E501", "--add-noqa=# as in the catalog"]
    for command in (["check", "--fix-only"], ["format"], too_long):
        subprocess.run([ruff, *command, "--quiet", file], check=False)
