"""`backend dev`: starts and supervises the database, the migrations, the API and a worker."""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NoReturn

from backend.addresses.host_names import is_local_host
from backend.cli import configuration
from backend.cli.databases import ReachableDatabase, reachable_database
from backend.cli.ports import listen, url_of
from backend.cli.schema import bring_to_head
from backend.cli.terminal import (
    CommandError,
    deferred_signals,
    name_of_signal,
    require_writable,
    say,
    shown,
    step,
)
from backend.core.registry import RegistryError
from backend.core.security import stored_secret
from backend.core.settings import Settings, load_settings
from backend.dev.processes import Child
from backend.dev.unavailable_server import UnavailableServer
from backend.modules.users.settings import UserSettings
from backend.product import NAME, TITLE

try:
    from backend.dev.file_watcher import FileWatcher
except ModuleNotFoundError as missing:
    raise CommandError(
        f"`backend dev` needs the package {missing.name}: run `make setup`, or install "
        f"{NAME}[development]."
    ) from missing

START_TIMEOUT_SECONDS = 30.0
PANEL = """
{state}

  API        {url}/api/v1
  Docs       {url}/docs
  Mailbox    {url}/dev/mailbox
  Front end  make dev-web, in another terminal
  Origins    {origins}
  Admin      {email}
  Password   {password}
  Data       {data}
  Jobs       run by a worker beside the API
  Stop       Ctrl-C
"""


@dataclass(frozen=True)
class Admin:
    """The first administrator, an account that the API creates if it does not exist.

    `shown` is the text for the terminal in the place of the password.
    """

    email: str
    password: str
    shown: str


def run(host: str, port: int) -> int:
    """Run everything until it is stopped; return the exit code."""
    try:
        settings, loaded, _ = configuration.load()
    except RegistryError as error:
        restart_when_corrected(error, host, port)
    if not settings.is_local:
        raise CommandError(
            f"`backend dev` is for development, and ENVIRONMENT is {settings.environment}: "
            "use `backend serve`."
        )
    require_writable(settings.data_dir)
    users = loaded[UserSettings]
    assert isinstance(users, UserSettings)
    admin = first_admin(settings, users)
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in listen(host, port)]
        with step("Database") as report:
            place = stack.enter_context(reachable_database(settings))
            report(f"PostgreSQL {place.version}")
        with step("Migrations") as report:
            report(bring_to_head(place.url))
        with deferred_signals():
            files = stack.enter_context(FileWatcher())
        environment = {**_environment(place, admin), **hosts(settings, host)}
        api = stack.enter_context(Child("backend.cli.dev_api", environment, sockets))
        worker = stack.enter_context(Child("backend.cli.worker", environment))
        fallback = stack.enter_context(UnavailableServer(sockets, settings))
        with step("API") as report:
            api.start()
            ready = api.is_ready(START_TIMEOUT_SECONDS)
            report("ready" if ready else "not ready yet")
        state = f"{TITLE} is running." if ready else f"{TITLE} is waiting for its API."
        url, data = url_of(sockets[0]), _data(settings, place)
        panel = {"origins": origins(settings), "email": admin.email, "password": admin.shown}
        say(PANEL.format(state=state, url=url, data=data, **panel))
        return Supervision(api, worker, fallback, files, place).run()


def restart_when_corrected(error: RegistryError, host: str, port: int) -> NoReturn:
    """Answer every request with the reason until the code changes, then replace this process.

    A new process is needed because this one has already imported the broken code.
    """
    core = load_settings([])[Settings]
    assert isinstance(core, Settings)
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in listen(host, port)]
        files = stack.enter_context(FileWatcher())
        fallback = stack.enter_context(UnavailableServer(sockets, core))
        fallback.start(str(error))
        url, port = url_of(sockets[0]), sockets[0].getsockname()[1]
        say(f"{error}\n{url} answers with this sentence until the code changes.")
        while (changed := files.changed()) is None:
            time.sleep(0.25)
    say(f"{shown(changed)} changed: starting.")
    # The last of repeated options takes effect, so the port stays the same even if it was chosen
    # by the system.
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], "--port", str(port)])


def first_admin(settings: Settings, users: UserSettings) -> Admin:
    email = users.first_admin_email or "admin@example.com"
    if users.first_admin_password is not None:
        password = users.first_admin_password.get_secret_value()
        return Admin(email, password, "that of FIRST_ADMIN_PASSWORD")
    file = settings.data_dir / "admin_password"
    password = stored_secret(file)
    # The account's password may have been changed since.
    return Admin(email, password, f"{password} (the first one; kept in {shown(file)})")


def origins(settings: Settings) -> str:
    """Describe the origins whose pages may call the API."""
    if "*" in settings.cors_origins:
        return "every page may call (CORS_ORIGINS=*)"
    allowed = [*settings.cors_origins]
    if settings.is_development:
        allowed += ["http://localhost and http://127.0.0.1 on any port"]
    return ", ".join(allowed) or "no page of another origin may call (CORS_ORIGINS is not set)"


def hosts(settings: Settings, host: str) -> dict[str, str]:
    """Return `ALLOWED_HOSTS` for an API that listens on a name it would otherwise refuse."""
    if not settings.is_development or settings.allowed_hosts or is_local_host(host.lower()):
        return {}
    return {"ALLOWED_HOSTS": f"{host},localhost,*.localhost,127.0.0.1,::1"}


def _environment(place: ReachableDatabase, admin: Admin) -> Mapping[str, str]:
    return {
        **({"DATABASE_URL": place.url} if place.server else {}),
        "FIRST_ADMIN_EMAIL": admin.email,
        "FIRST_ADMIN_PASSWORD": admin.password,
        # A development server has no load balancer that has to notice the shutdown first.
        "SHUTDOWN_DELAY": "0",
    }


def _data(settings: Settings, place: ReachableDatabase) -> str:
    if place.server is None:
        return f"the database of DATABASE_URL, and {shown(settings.data_dir)}"
    return shown(place.server.folder)


class Supervision:
    """Restarts the database when it dies, and the API and the worker when their code changes."""

    def __init__(
        self,
        api: Child,
        worker: Child,
        fallback: UnavailableServer,
        files: FileWatcher,
        place: ReachableDatabase,
    ) -> None:
        self._api = api
        self._worker = worker
        self._fallback = fallback
        self._files = files
        self._place = place
        self._worker_is_broken = False

    def run(self) -> int:
        """Supervise until the API is stopped or killed by a signal; return the exit code."""
        last_check = time.monotonic()
        while True:
            time.sleep(0.25)
            with deferred_signals():
                changed = self._restart_if_changed()
            if not changed and (code := self._api.ended()) is not None:
                if code <= 0:
                    return _report_end(code)
                ended = f"The API ended with exit code {code}."
                say(f"{ended} It starts again when its code changes.")
                with deferred_signals():
                    self._fallback.start(self._api.failure() or ended)
            with deferred_signals():
                self._supervise_worker()
            if self._place.server is not None and time.monotonic() - last_check >= 1:
                if self._place.server.ensure():
                    say("The database server had died and is running again.")
                last_check = time.monotonic()

    def _restart_if_changed(self) -> bool:
        changed = self._files.changed()
        if changed is None:
            return False
        say(f"{shown(changed)} changed: starting the API again.")
        self._fallback.stop()
        self._api.start()
        self._worker.stop()
        self._worker_is_broken = False
        return True

    def _supervise_worker(self) -> None:
        if (code := self._worker.ended()) is not None:
            # A worker that never became ready would fail again: it waits for a code change.
            self._worker_is_broken = code >= 0 and not self._worker.is_ready()
            reason = f"with exit code {code}" if code >= 0 else f"by {name_of_signal(-code)}"
            remedy = "when its code changes" if self._worker_is_broken else "now"
            say(f"The worker ended {reason}. It starts again {remedy}.")
        # The API starts first: its readiness is awaited, and it reports errors in the code.
        if not self._worker.started and not self._worker_is_broken and self._api.is_ready():
            self._worker.start()


def _report_end(code: int) -> int:
    """Print how the API ended; return the exit code, 128 plus the number of a signal."""
    if code < 0:
        say(f"The API was ended by {name_of_signal(-code)}, so everything stops.")
        return 128 - code
    say(f"The API ended with exit code {code}, so everything stops.")
    return code
