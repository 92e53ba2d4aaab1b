"""What all commands share: how they speak, and how they end."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from backend.dev.lifeline import STOP_SIGNALS


class CommandError(Exception):
    """What a person can meet. The text says what is wrong and how to mend it."""


def say(text: str = "") -> None:
    # A command that is being stopped may have lost its terminal; it has to clean up all the same.
    with suppress(OSError):
        print(text, flush=True)


@contextmanager
def step(name: str) -> Iterator[Callable[[str], None]]:
    """Show at once what is being done, and on the same line what came of it."""
    print(f"{name:<12}", end="", flush=True)
    results: list[str] = []
    try:
        yield results.append
    finally:
        say(", ".join(results))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def shown(path: Path) -> str:
    """A path as a person would type it here."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def exit_on_signals(
    signals: Sequence[signal.Signals] = STOP_SIGNALS, *, code: int | None = None
) -> None:
    """Leave through every `with` block at the first of these signals; ignore further ones.

    `code` is the exit code; without one it says which signal it was, as shells do.
    """

    def leave(number: int, _: FrameType | None) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number if code is None else code)

    for each in signals:
        if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(each, leave)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a signal to stop wait until the block is done."""
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
    if arrived:
        signal.raise_signal(arrived[0])


def name_of_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def require_writable(folder: Path) -> None:
    """Make the data folder, or say why it cannot be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(0, "Permission denied")
    except OSError as error:
        raise CommandError(
            f"The data folder {folder.absolute()} cannot be written ({error.strerror}): "
            "make it yours, or set DATA_DIR to a folder of your own."
        ) from error
