"""The application beside another server, in rounds of all of them in turn.

The application has the settings of production: limits counted in PostgreSQL, one log line for
each request, and all middleware. Each connection is a caller of its own.
"""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from alembic import command

from backend.db.schema.migrations import alembic_config
from bench import data
from bench.cores import pinned
from bench.endpoints import ENDPOINTS, LIST_LIMIT
from bench.launcher import APPLICATION, Launcher
from bench.limits import ON
from bench.load import Job
from bench.measure import Generator, Series, Variant, generator, measure
from bench.postgres import Postgres, postgres
from bench.servers import ROOT, BenchError, Server, call
from bench.target_file import Target, load_target
from bench.targets import Calls, Contender, start_target

# So that every caller has more items than a page.
MOST_CALLERS = data.ITEMS // (LIST_LIMIT + 5)
NAMES = [endpoint.name for endpoint in ENDPOINTS]


@dataclass(frozen=True)
class ComparisonOptions:
    seconds: float
    rounds: int
    connections: int
    only: tuple[str, ...]
    pin: bool
    targets: tuple[Path, ...]
    # Of this project.
    checkouts: tuple[Path, ...]
    # Of the other project.
    checkout: Path | None
    # The folder with the programs of PostgreSQL, or None for the installed wheel.
    postgres: Path | None


@dataclass
class Pair:
    """The rounds of one server at one endpoint: with all connections, and with one."""

    name: str
    response_bytes: int
    many: Series
    one: Series

    def errors(self) -> Iterator[str]:
        for series in (self.many, self.one):
            if series.errors:
                yield f"{self.name}: {series.errors} errors: {series.first_error}"


@dataclass
class Comparison:
    """The results of a run, by endpoint; the application is the first of each."""

    cores: tuple[int, int] | None
    connections: int
    callers: int
    load_before: float
    load_after: float = 0.0
    endpoints: dict[str, list[Pair]] = field(default_factory=dict)

    def failures(self) -> Iterator[str]:
        for endpoint, pairs in self.endpoints.items():
            for pair in pairs:
                yield from (f"{endpoint}, {line}" for line in pair.errors())


def run(options: ComparisonOptions, say: Callable[[str], None]) -> Comparison:
    # Mistakes in the files are found before anything starts.
    targets = [load_target(file) for file in options.targets]
    _ensure_different_names([APPLICATION, *(target.name for target in targets)])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # Before any process starts, because processes inherit the affinity.
        cores = stack.enter_context(pinned()) if options.pin else None
        rows = data.Rows(min(options.connections, MOST_CALLERS))
        findings = Comparison(cores, options.connections, rows.callers, os.getloadavg()[0])
        say("Starting PostgreSQL and the servers ...")
        database = stack.enter_context(postgres(options.postgres))
        contenders = _own(stack, folder, database, rows, options.checkouts)
        for number, target in enumerate(targets):
            say(f"Preparing {target.name} ...")
            url = database.create(f"target{number}")
            contenders.append(start_target(target, stack, folder, url, rows, options.checkout))
        load = stack.enter_context(generator(cores[1] if cores else None))
        for name in _endpoints(options, targets):
            say(f"Measuring {name} ...")
            taking_part = [each for each in contenders if name in each.calls]
            findings.endpoints[name] = _compare(name, taking_part, load, database.process, options)
        findings.load_after = os.getloadavg()[0]
    return findings


def _ensure_different_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BenchError(f"Two servers have the name {name!r}: change it in a TOML file.")


def _endpoints(options: ComparisonOptions, targets: list[Target]) -> list[str]:
    described = {name for target in targets for name in target.endpoints.model_fields_set}
    wanted = set(options.only) or described
    return [name for name in NAMES if name in wanted]


def _own(
    stack: ExitStack, folder: Path, database: Postgres, rows: data.Rows, checkouts: tuple[Path, ...]
) -> list[Contender]:
    """Start the application, also that of other checkouts, on one database."""
    url = database.create("application")
    with alembic_config(url) as config:
        command.upgrade(config, "head")
    launcher = Launcher(stack, folder, production_settings(url))
    first = launcher.application(APPLICATION, ROOT)
    tokens = data.fill_for(rows, url, first)
    others = {f"in {checkout.name}": checkout for checkout in checkouts}
    servers = [first, *(launcher.application(name, others[name]) for name in others)]
    reset = partial(data.reset_tables, url)
    contenders = [Contender(each.name, each, _own_calls(each, tokens), reset) for each in servers]
    reset()
    return contenders


def production_settings(url: str) -> dict[str, str]:
    """Return the settings; limits are counted and never reached."""
    return {
        **ON,
        "ENVIRONMENT": "production",
        "DATABASE_URL": url,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "RATE_LIMIT_STORAGE": "postgres",
        "ALLOWED_HOSTS": "127.0.0.1",
        # The bench signs its callers in from different addresses.
        "TRUSTED_PROXIES": "127.0.0.1",
        "FRONTEND_URL": "https://front-end.example",
        # Mails wait for a worker, which is not started.
        "SMTP_URL": "smtp://127.0.0.1:9",
        "EMAIL_FROM": "no-reply@front-end.example",
        "SHUTDOWN_DELAY": "0",
        # Longer than any run.
        "ACCESS_TOKEN_TTL": "86400",
    }


def _own_calls(server: Server, tokens: list[str]) -> dict[str, Calls]:
    calls = {}
    for endpoint in ENDPOINTS:
        headers = {"Authorization": f"Bearer {tokens[0]}", "Content-Type": "application/json"}
        status, body = call(server.port, endpoint.method, endpoint.path, headers, endpoint.body)
        if status // 100 != 2:
            raise BenchError(f"{server.name}: {endpoint.name} responded with {status}: {body!r}")
        requests = [endpoint.request(server.port, token) for token in tokens]
        calls[endpoint.name] = Calls(requests, status, len(body))
    return calls


def _compare(
    name: str,
    contenders: list[Contender],
    load: Generator,
    database: Server,
    options: ComparisonOptions,
) -> list[Pair]:
    pairs = [
        Pair(each.name, each.calls[name].response_bytes, Series(each.name), Series(each.name))
        for each in contenders
    ]
    in_turn = list(zip(contenders, pairs, strict=True))
    for number in range(options.rounds):
        # In both directions, so that nobody always follows the same server.
        for contender, pair in in_turn[:: -1 if number % 2 else 1]:
            calls = contender.calls[name]
            variant = Variant(contender.name, contender.server)
            job = Job(
                contender.server.port,
                calls.requests,
                options.connections,
                options.seconds,
                str(calls.status),
            )
            measure(variant, load, job, pair.many, database)
            alone = replace(job, connections=1, seconds=options.seconds / 2)
            measure(variant, load, alone, pair.one, database)
            contender.reset()
    return pairs
