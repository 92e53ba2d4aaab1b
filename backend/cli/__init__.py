"""The `backend` command, a composition root beside `backend.main`.

Each command imports its dependencies itself, which keeps `backend --help` fast.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any


def main() -> None:
    # Until the handlers are installed, Ctrl-C ends the process without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from backend.cli.terminal import exit_on_signals

    exit_on_signals()
    from backend.cli.commands import app

    try:
        app(prog_name="backend")
    except Exception as error:
        if not _is_explained(error):
            _name_trouble(error)
            _report(error)
            raise
        print(error, file=sys.stderr)
        sys.exit(1)


def _name_trouble(error: Exception) -> None:
    from backend.db.troubles import trouble_sentence

    if sentence := trouble_sentence(error):
        print(sentence, file=sys.stderr)


def _report(error: Exception) -> None:
    """Report an error that nothing has explained, if SENTRY_DSN is set."""
    from backend.core.settings import SettingsError, load_settings
    from backend.core.signals import make_error_reports
    from backend.core.telemetry_settings import TelemetrySettings

    try:
        loaded = load_settings([TelemetrySettings])
    except SettingsError:
        # Unusable settings are reported by the commands that need them.
        return
    reports = make_error_reports(loaded)
    if reports is not None:
        reports.report(error, " ".join(["backend", *_command(sys.argv[1:])]))
        reports.flush()


def _command(words: Sequence[str]) -> Iterator[str]:
    """Yield the names of the group and the command, without options and arguments."""
    from typer.main import get_command

    from backend.cli.commands import app

    found: Any = get_command(app)
    for word in words:
        found = getattr(found, "commands", {}).get(word)
        if found is None:
            return
        yield word


def _is_explained(error: Exception) -> bool:
    """Return whether the error's text states problem and remedy, so no traceback is needed."""
    from backend.cli.terminal import CommandError
    from backend.core.registry import RegistryError
    from backend.core.settings import SettingsError
    from backend.db.schema.history import HistoryError
    from backend.dev.embedded_server import EmbeddedError

    return isinstance(
        error, CommandError | EmbeddedError | HistoryError | RegistryError | SettingsError
    )
