"""`backend doctor`: checks of the environment, each with a remedy if it fails."""

import asyncio
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import psycopg

from backend.cli import sessions
from backend.cli.databases import (
    OLDEST_VERSION,
    embedded_folder,
    name_of_session_url,
    reach,
    reachable_database,
)
from backend.cli.ports import listen, trellis_answers
from backend.cli.schema import check_imports, require_newest
from backend.cli.terminal import CommandError, require_writable, say, shown
from backend.core.registry import RegistryError, discover, setting_kinds
from backend.core.security import secret_keys
from backend.core.settings import Settings, SettingsBase, SettingsError, load_settings
from backend.db.errors import CREATE_DATABASE
from backend.db.schema.history import HistoryError
from backend.dev.embedded_server import EmbeddedError, binaries, data_folder
from backend.integrations.storage import StorageError

OLDEST_PYTHON = (3, 11)
# Passed (True), failed (False) or advice (None), and the text.
Finding = tuple[bool | None, str]
SIGNS = {True: "✓", False: "✗", None: "!"}
FOLDS = "SELECT 'É' ILIKE 'é', to_tsvector('english', 'É') @@ websearch_to_tsquery('english', 'é')"


def run(host: str, port: int) -> int:
    """Run all checks and print a line for each; return the exit code, 1 if any has failed."""
    failures = 0
    for passed, text in _findings(host, port):
        say(f"{SIGNS[passed]} {text}")
        failures += passed is False
    return 1 if failures else 0


def _findings(host: str, port: int) -> Iterator[Finding]:
    yield _python()
    kinds: list[type[SettingsBase]] = []
    try:
        modules = discover()
        kinds += setting_kinds(modules)
        yield True, f"{len(modules)} modules: {', '.join(module.name for module in modules)}"
    except RegistryError as error:
        yield False, str(error)
    try:
        loaded = load_settings(kinds)
        settings = loaded[Settings]
        assert isinstance(settings, Settings)
    except SettingsError as error:
        yield from ((False, problem) for problem in error.problems)
        yield False, "Correct the settings, then run this again for the other checks."
        return
    yield True, f"The settings are usable; ENVIRONMENT is {settings.environment}"
    yield _finding(lambda: _data(settings))
    yield _storage(settings, loaded)
    yield from _database(settings)
    yield _finding(lambda: _port(host, port))


def _finding(check: Callable[[], str]) -> Finding:
    try:
        return True, check()
    except (CommandError, EmbeddedError, HistoryError) as error:
        return False, str(error)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return False, f"Python {version} is too old: install 3.11 or newer."
    return True, f"Python {version}"


def _data(settings: Settings) -> str:
    require_writable(settings.data_dir)
    kept = "in SECRET_KEY" if settings.secret_key else f"kept in {shown(settings.data_dir)}"
    secret_keys(settings)
    return f"The data folder {shown(settings.data_dir)} is writable; the secret key is {kept}"


def _storage(settings: Settings, loaded: Mapping[type[SettingsBase], SettingsBase]) -> Finding:
    from backend.modules.files.service import try_storage
    from backend.modules.files.settings import FileSettings

    own = loaded[FileSettings]
    assert isinstance(own, FileSettings)
    try:
        place = asyncio.run(try_storage(settings, own))
    except StorageError as error:
        return False, f"{error} Check STORAGE_URL, its credentials and rights, and the network."
    text = f"Files are stored in {place}, which is writable"
    if settings.is_local or own.storage_url is not None:
        return True, text
    return None, f"{text}; several servers need a bucket or a shared folder: set STORAGE_URL"


def _database(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is None:
        finding = _finding(lambda: f"The embedded PostgreSQL is in {shown(binaries())}")
        yield finding
        if not finding[0]:
            return
        if not (data_folder(embedded_folder(settings)) / "data").exists():
            yield True, "The database will be made by the first `backend dev`"
            return
        try:
            with reachable_database(settings) as place:
                yield True, _answers(place.version)
                yield from _search(place.url)
                yield _finding(lambda: _migrations(place.url))
        except (CommandError, EmbeddedError) as error:
            yield False, str(error)
        return
    yield from _addresses(settings)


def _answers(version: str, name: str = "the data folder") -> str:
    return f"PostgreSQL {version} answers at {name} ({OLDEST_VERSION} or newer is needed)"


def _addresses(settings: Settings) -> Iterator[Finding]:
    for name, url in sessions.addresses(settings):
        try:
            yield True, _answers(reach(url, name), name)
        except CommandError as error:
            yield False, str(error)
            continue
        yield _finding(partial(sessions.describe, name, url, settings))
        if name == "DATABASE_URL" and (advice := sessions.missing_limits(url, settings)):
            yield None, advice
        if name == name_of_session_url(settings):
            yield from _search(url)
            yield _finding(partial(_migrations, url))
    if settings.database_pooler == "transaction" and settings.database_direct_url is None:
        yield False, f"DATABASE_POOLER=transaction leaves no session: {sessions.DIRECT}."


def _search(url: str) -> Iterator[Finding]:
    """Yield advice if searches are case-sensitive for letters such as É in this locale."""
    with psycopg.connect(url, client_encoding="UTF8") as connection:
        folds = connection.execute(FOLDS).fetchone()
    assert folds is not None
    kinds = ("by substring (as in items)", "by word (as in articles)")
    failing = [kind for kind, works in zip(kinds, folds, strict=True) if not works]
    if failing:
        advice = (
            "The database's locale (LC_CTYPE) folds the case of A to Z only: a search (`q`) for é "
            f"{' and '.join(failing)} does not find É. Create a database with "
            f"`{CREATE_DATABASE}` and move the data there."
        )
        yield None, advice


def _migrations(url: str) -> str:
    current = require_newest(url)
    check_imports(url)
    return f"The schema is at {current}, the newest revision"


def _port(host: str, port: int) -> str:
    try:
        sockets = listen(host, port)
    except CommandError:
        if not trellis_answers(host, port):
            raise
        return f"Trellis is running on port {port}"
    for each in sockets:
        each.close()
    return f"Port {port} is free"
