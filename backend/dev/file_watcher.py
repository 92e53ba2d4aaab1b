"""Detection of changes in the code and in the file of settings."""

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from watchfiles import Change, watch

import backend
from backend.dev.stop_signals import blocked_signals

PACKAGE = Path(backend.__file__).parent
SETTINGS = Path(".env")
# A burst of changes, as a formatter or `git checkout` makes, ends after so long a pause.
PAUSE_MILLISECONDS = 100
START_SECONDS = 5.0
# Between two comparisons where the system reports no changes.
POLL_SECONDS = 0.5


class FileWatcher:
    """Compares the times of the files whenever the system reports a change below the package.

    The file of settings is compared at each call: its folder may hold the data of a database.
    """

    def __init__(self) -> None:
        self._reported = threading.Event()
        self._watching = threading.Event()
        self._stopping = threading.Event()
        self._is_watched = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        # Signals must reach the main thread, which may block them.
        with blocked_signals():
            self._thread.start()
        self._watching.wait(START_SECONDS)
        self._seen = _times()
        self._settings_seen = _time(SETTINGS)
        self._compared_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def changed(self) -> Path | None:
        """Return one of the files that changed since the last call, or None."""
        settings = _time(SETTINGS)
        if settings != self._settings_seen:
            self._settings_seen = settings
            return SETTINGS
        if not self._is_watched and time.monotonic() - self._compared_at >= POLL_SECONDS:
            self._reported.set()
        if not self._reported.is_set():
            return None
        self._reported.clear()
        self._compared_at = time.monotonic()
        before, self._seen = self._seen, _times()
        different = dict(before.items() ^ self._seen.items())
        return min(different) if different else None

    def _watch(self) -> None:
        try:
            for changes in watch(
                PACKAGE,
                watch_filter=_concerns_code,
                step=PAUSE_MILLISECONDS,
                rust_timeout=PAUSE_MILLISECONDS,
                yield_on_timeout=True,
                stop_event=self._stopping,
            ):
                self._watching.set()
                if changes:
                    self._reported.set()
        except OSError:
            # The system has no watches left, or supports none for these files.
            self._is_watched = False
            self._watching.set()


def _concerns_code(_: Change, path: str) -> bool:
    # Not only names that end in .py: a folder may be moved with all its files.
    return "__pycache__" not in path


def _times() -> dict[Path, int]:
    times = ((file, _time(file)) for file in PACKAGE.rglob("*.py"))
    return {file: changed for file, changed in times if changed is not None}


def _time(file: Path) -> int | None:
    """Return the time of the last change in ns, or None for a file that an editor is replacing."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return None
