"""The `backend` command: a composition root beside `backend.main`.

Everything is imported by the command that needs it, so that `backend --help` answers at once.
"""

import sys


def main() -> None:
    from backend.cli.terminal import exit_on_signals

    exit_on_signals()
    from backend.cli.commands import app

    try:
        app(prog_name="backend")
    except Exception as error:
        if not _is_for_people(error):
            raise
        print(error, file=sys.stderr)
        sys.exit(1)


def _is_for_people(error: Exception) -> bool:
    """Whether the text of an error says all: what is wrong, and what to do about it."""
    from backend.cli.terminal import CommandError
    from backend.core.registry import RegistryError
    from backend.core.settings import SettingsError
    from backend.db.schema.history import HistoryError
    from backend.dev.embedded_server import EmbeddedError

    return isinstance(
        error, CommandError | EmbeddedError | HistoryError | RegistryError | SettingsError
    )
