"""Output, signal handling and errors, shared by all commands."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from backend.dev.stop_signals import STOP_SIGNALS


class CommandError(Exception):
    """A failure reported to the user. `str()` states the problem and the remedy."""


def say(text: str = "") -> None:
    # The terminal may be gone while a command stops; its clean-up has to continue.
    with suppress(OSError):
        print(text, flush=True)


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Print the name of a step at once, and its results on the same line at the end."""
    print(f"{name:<12}", end="", flush=True)
    results: list[str] = []
    try:
        yield results.append
    finally:
        say(", ".join(results))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def shown(path: Path) -> str:
    """Return a path relative to the current folder if it is inside, and absolute otherwise."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def exit_on_signals(
    signals: Sequence[signal.Signals] = STOP_SIGNALS, *, code: int | None = None
) -> None:
    """Raise `SystemExit` at the first of these signals, so `with` blocks clean up; ignore others.

    `code` is the exit code; by default it is 128 plus the signal's number, as in shells.
    """

    def leave(number: int, _: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number if code is None else code)

    for each in signals:
        if signal.getsignal(each) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(each, leave)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Defer stop signals until the end of the block."""
    handlers = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    arrived: list[int] = []
    for each, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(each, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        # Also if the block failed: Ctrl-C may have ended a program that it needed.
        if arrived:
            signal.raise_signal(arrived[0])


def name_of_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def require_writable(folder: Path) -> None:
    """Create the data folder; raise `CommandError` if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "Permission denied")
    except OSError as error:
        raise CommandError(
            f"The data folder {folder.absolute()} cannot be written ({error.strerror}): "
            "make it yours, or set DATA_DIR to a folder of your own."
        ) from error
