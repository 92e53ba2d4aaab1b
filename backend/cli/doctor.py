"""`backend doctor`: checks of the environment, each with a remedy if it fails."""

import asyncio
import platform
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial

import psycopg

from backend.cli import certificates, incidents, proxies, sessions, sunsets
from backend.cli.databases import (
    OLDEST_VERSION,
    embedded_folder,
    name_of_session_url,
    reach,
    reachable_database,
)
from backend.cli.findings import Check, Finding, bounded
from backend.cli.ports import listen, trellis_answers
from backend.cli.schema import check_imports, require_newest
from backend.cli.terminal import CommandError, require_writable, say, shown
from backend.core.module import Module
from backend.core.registry import RegistryError, discover, setting_kinds
from backend.core.security import secret_keys
from backend.core.settings import Settings, SettingsBase, SettingsError, load_settings
from backend.db.errors import CREATE_DATABASE
from backend.db.schema.history import HistoryError
from backend.dev.embedded_server import EmbeddedError, binaries, data_folder
from backend.integrations.email.smtp_url import parse_smtp_url
from backend.integrations.storage import StorageError
from backend.modules.mail.settings import MailSettings
from backend.product import TITLE

OLDEST_PYTHON = (3, 11)
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
    modules: tuple[Module, ...] = ()
    try:
        modules = discover()
        kinds += setting_kinds(modules)
        yield True, f"{len(modules)} modules: {', '.join(module.name for module in modules)}"
        yield from sunsets.due(modules, datetime.now(UTC).date())
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
    if modules:
        yield from bounded("The storage", lambda: [_storage(settings, loaded)])
        yield from _mail(loaded)
    yield from _database(settings, partial(proxies.last_requests, modules, loaded))
    yield _finding(lambda: _port(host, port))


def _finding(check: Callable[[], str]) -> Finding:
    try:
        return True, check()
    except (CommandError, EmbeddedError, HistoryError) as error:
        return False, str(error)


def _checked(subject: str, check: Callable[[], str]) -> list[Finding]:
    return bounded(subject, lambda: [_finding(check)])


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


def _mail(loaded: Mapping[type[SettingsBase], SettingsBase]) -> Iterator[Finding]:
    own = loaded[MailSettings]
    assert isinstance(own, MailSettings)
    if own.provider == "smtp" and own.smtp_url is not None:
        server = parse_smtp_url(own.smtp_url.get_secret_value())
        yield from bounded("The mail server", partial(certificates.mail_server, server))


def _database(settings: Settings, last_requests: Check) -> Iterator[Finding]:
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
                yield from _contents(place.url, settings)
        except (CommandError, EmbeddedError) as error:
            yield False, str(error)
        return
    yield from _addresses(settings, last_requests)


def _answers(version: str, name: str = "the data folder") -> str:
    return f"PostgreSQL {version} answers at {name} ({OLDEST_VERSION} or newer is needed)"


def _addresses(settings: Settings, last_requests: Check) -> Iterator[Finding]:
    for name, url in sessions.addresses(settings):
        subject = f"The certificate of {name}"
        yield from bounded(subject, partial(certificates.database, name, url))
        try:
            yield True, _answers(reach(url, name), name)
        except CommandError as error:
            yield False, str(error)
            continue
        yield from _checked(f"Sessions of {name}", partial(sessions.describe, name, url, settings))
        if name == "DATABASE_URL":
            yield from bounded("Limits of the role", partial(_limits, url, settings))
        if name == name_of_session_url(settings):
            is_current = yield from _contents(url, settings)
            if is_current:
                yield from bounded("The proxies", last_requests)
    if settings.database_pooler == "transaction" and settings.database_direct_url is None:
        yield False, f"DATABASE_POOLER=transaction leaves no session: {sessions.DIRECT}."


def _limits(url: str, settings: Settings) -> Iterator[Finding]:
    advice = sessions.missing_limits(url, settings)
    if advice is not None:
        yield None, advice


def _contents(url: str, settings: Settings) -> Generator[Finding, None, bool]:
    """Check a reachable database; return whether its schema is the newest."""
    yield from bounded("The search", partial(_search, url))
    schema = _checked("The schema", partial(_migrations, url))
    yield from schema
    for subject, check in incidents.database_checks(url, settings).items():
        yield from bounded(subject, check)
    is_current = all(result for result, _ in schema)
    if is_current:
        queue = partial(incidents.jobs, url, is_local=settings.is_local)
        yield from bounded("The queue of jobs", queue)
    return is_current


def _search(url: str) -> Iterator[Finding]:
    """Yield advice if searches are case-sensitive for letters such as É in this locale."""
    with psycopg.connect(url, client_encoding="UTF8") as connection:
        folds = connection.execute(FOLDS).fetchone()
    assert folds is not None
    kinds = ("by substring", "by word")
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
        return f"{TITLE} is running on port {port}"
    for each in sockets:
        each.close()
    return f"Port {port} is free"
