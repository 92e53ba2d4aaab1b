"""The database and the servers of a run."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from alembic import command

from backend.db.schema.migrations import alembic_config
from bench import data
from bench.endpoints import Endpoint
from bench.launcher import Launcher
from bench.measure import Generator, Series, generator
from bench.postgres import Postgres
from bench.servers import ROOT, BenchError, Server, call

CALLERS = 32
BASE = "base"
ITEMS = "/api/v1/items"


@dataclass
class Site:
    """PostgreSQL with the database `base`: migrated, with the callers, 1000 users and 1000 items.

    `settings` are those of production, without the database.
    """

    folder: Path
    postgres: Postgres
    settings: dict[str, str]
    say: Callable[[str], None]
    seconds: float
    rounds: int
    load_core: int | None
    tokens: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        self.say("Preparing PostgreSQL and the callers ...")
        url = self.postgres.create(BASE)
        with alembic_config(url) as config:
            command.upgrade(config, "head")
        with self.launcher(url) as launcher:
            server = launcher.application(BASE, ROOT)
            self.tokens = data.fill_for(data.Rows(CALLERS), url, server)

    def copy_of_base(self, name: str) -> str:
        """Create a database with the rows of `base` and return its URL."""
        return self.postgres.create(name, BASE)

    @contextmanager
    def launcher(self, url: str, **settings: str) -> Iterator[Launcher]:
        """Yield a launcher for servers of one database; they stop at the end of the block."""
        with ExitStack() as stack:
            chosen = {**self.settings, "DATABASE_URL": url, **settings}
            yield Launcher(stack, self.folder, chosen)

    @contextmanager
    def generator(self, *, pinned: bool = True) -> Iterator[Generator]:
        with generator(self.load_core if pinned else None) as load:
            yield load


def items_of(server: Server, token: str, most: int = 100) -> list[Endpoint]:
    """Return the requests for single items of a caller, for at most 100."""
    headers = {"Authorization": f"Bearer {token}"}
    status, body = call(server.port, "GET", f"{ITEMS}?limit={most}&fields=id", headers)
    if status != 200:
        raise BenchError(f"The list responded with {status}: {body.decode()}")
    return [Endpoint("item", "GET", f"{ITEMS}/{row['id']}") for row in json.loads(body)["data"]]


def total_us(series: Series) -> list[float]:
    """Return the processor time of server and PostgreSQL per request, for each round."""
    return [
        own + database
        for own, database in zip(series.processor_us, series.database_us, strict=False)
    ]


def errors_of(name: str, series: Series) -> list[str]:
    return [f"{name}: {series.errors}, first {series.first_error!r}"] if series.errors else []
