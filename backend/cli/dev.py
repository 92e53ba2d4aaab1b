"""`backend dev`: a database, its migrations, the API, a worker, and an eye on all of them."""

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
    name_of_signal,
    require_writable,
    say,
    shown,
    step,
    undisturbed,
)
from backend.core.registry import RegistryError
from backend.core.security import stored_secret
from backend.core.settings import Settings, load_settings
from backend.dev.fallback import Fallback
from backend.dev.processes import Child, Files
from backend.modules.users.settings import UserSettings

START_PATIENCE = 30.0
PANEL = """
{state}

  API        {url}/api/v1
  Docs       {url}/docs
  Mailbox    {url}/dev/mailbox
  Origins    {origins}
  Admin      {email}
  Password   {password}
  Data       {data}
  Jobs       run by a worker beside the API
  Stop       Ctrl-C
"""


@dataclass(frozen=True)
class Admin:
    """The first administrator; the API makes the account when there is none."""

    email: str
    password: str
    shown: str


def run(host: str, port: int) -> int:
    """Everything until the person stops it; the exit code."""
    try:
        settings, loaded, _ = configuration.load()
    except RegistryError as error:
        begin_anew_when_mended(error, host, port)
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
        with step("Database") as tell:
            place = stack.enter_context(reachable_database(settings))
            tell(f"PostgreSQL {place.version}")
        with step("Migrations") as tell:
            tell(bring_to_head(place.url))
        with undisturbed():
            files = Files()
        environment = {**_environment(place, admin), **hosts(settings, host)}
        api = stack.enter_context(Child("backend.cli.dev_api", environment, sockets))
        worker = stack.enter_context(Child("backend.cli.worker", environment))
        fallback = stack.enter_context(Fallback(sockets, settings))
        with step("API") as tell:
            api.start()
            ready = api.is_ready(START_PATIENCE)
            tell("ready" if ready else "not ready yet")
        state = "Trellis is running." if ready else "Trellis waits for its API."
        url, data = url_of(sockets[0]), _data(settings, place)
        panel = {"origins": origins(settings), "email": admin.email, "password": admin.shown}
        say(PANEL.format(state=state, url=url, data=data, **panel))
        return Supervision(api, worker, fallback, files, place).run()


def begin_anew_when_mended(error: RegistryError, host: str, port: int) -> NoReturn:
    """Answer every request with the reason until the code changes, then replace this process.

    What it has imported of the broken code would else stay.
    """
    core = load_settings([])[Settings]
    assert isinstance(core, Settings)
    with ExitStack() as stack:
        sockets = [stack.enter_context(each) for each in listen(host, port)]
        files = Files()
        fallback = stack.enter_context(Fallback(sockets, core))
        fallback.start(str(error))
        url, port = url_of(sockets[0]), sockets[0].getsockname()[1]
        say(f"{error}\n{url} answers with this sentence until the code changes.")
        while (changed := files.changed()) is None:
            time.sleep(0.25)
    say(f"{shown(changed)} changed: starting.")
    # Of a repeated option the last one counts: the port stays, also where the system chose it.
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], "--port", str(port)])


def first_admin(settings: Settings, users: UserSettings) -> Admin:
    email = users.first_admin_email or "admin@example.com"
    if users.first_admin_password is not None:
        password = users.first_admin_password.get_secret_value()
        return Admin(email, password, "that of FIRST_ADMIN_PASSWORD")
    file = settings.data_dir / "admin_password"
    password = stored_secret(file)
    # The person may have changed it since.
    return Admin(email, password, f"{password} (the first one; kept in {shown(file)})")


def origins(settings: Settings) -> str:
    """Which pages may call, in words."""
    if "*" in settings.cors_origins:
        return "every page may call (CORS_ORIGINS=*)"
    found = [*settings.cors_origins]
    if settings.is_development:
        found += ["http://localhost and http://127.0.0.1 on any port"]
    return ", ".join(found) or "no page of another origin may call (CORS_ORIGINS is not set)"


def hosts(settings: Settings, host: str) -> dict[str, str]:
    """`ALLOWED_HOSTS` for the API where it listens on a name that would else be foreign."""
    if not settings.is_development or settings.allowed_hosts or is_local_host(host.lower()):
        return {}
    return {"ALLOWED_HOSTS": f"{host},localhost,*.localhost,127.0.0.1,::1"}


def _environment(place: ReachableDatabase, admin: Admin) -> Mapping[str, str]:
    return {
        **({"DATABASE_URL": place.url} if place.server else {}),
        "FIRST_ADMIN_EMAIL": admin.email,
        "FIRST_ADMIN_PASSWORD": admin.password,
        # Nobody's load balancer looks away from a development server first.
        "SHUTDOWN_DELAY": "0",
    }


def _data(settings: Settings, place: ReachableDatabase) -> str:
    if place.server is None:
        return f"the database of DATABASE_URL, and {shown(settings.data_dir)}"
    return shown(place.server.folder)


class Supervision:
    """Heals the database, and starts the API and the worker again when their code changes."""

    def __init__(
        self, api: Child, worker: Child, fallback: Fallback, files: Files, place: ReachableDatabase
    ) -> None:
        self._api = api
        self._worker = worker
        self._fallback = fallback
        self._files = files
        self._place = place
        self._worker_is_broken = False

    def run(self) -> int:
        """Until the API has ended for good; the exit code."""
        last_look = time.monotonic()
        while True:
            time.sleep(0.25)
            with undisturbed():
                changed = self._renew()
            if not changed and (code := self._api.ended()) is not None:
                if code <= 0:
                    return _told_end(code)
                ended = f"The API ended with exit code {code}."
                say(f"{ended} It starts again when its code changes.")
                with undisturbed():
                    self._fallback.start(self._api.failure() or ended)
            with undisturbed():
                self._look_after_worker()
            if self._place.server is not None and time.monotonic() - last_look >= 1:
                if self._place.server.ensure():
                    say("The database server had died and is running again.")
                last_look = time.monotonic()

    def _renew(self) -> bool:
        changed = self._files.changed()
        if changed is None:
            return False
        say(f"{shown(changed)} changed: starting the API again.")
        self._fallback.stop()
        self._api.start()
        self._worker.stop()
        self._worker_is_broken = False
        return True

    def _look_after_worker(self) -> None:
        if (code := self._worker.ended()) is not None:
            # One that did not even get ready would end like this again and again.
            self._worker_is_broken = code >= 0 and not self._worker.is_ready()
            reason = f"with exit code {code}" if code >= 0 else f"by {name_of_signal(-code)}"
            remedy = "when its code changes" if self._worker_is_broken else "now"
            say(f"The worker ended {reason}. It starts again {remedy}.")
        # Not before the API is ready: that is waited for, and says what is wrong with the code.
        if not self._worker.started and not self._worker_is_broken and self._api.is_ready():
            self._worker.start()


def _told_end(code: int) -> int:
    """Say why the API is gone; the exit code that stands for it, as shells count."""
    if code < 0:
        say(f"The API was ended by {name_of_signal(-code)}, so everything stops.")
        return 128 - code
    say(f"The API ended with exit code {code}, so everything stops.")
    return code
