"""One run: start the processes, measure, stop the processes."""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import data, guessing, limits
from bench.cores import pinned, unpinned
from bench.endpoints import ENDPOINTS, FLOOD_CLIENTS, ME_CLIENTS, SIGN_IN_CLIENTS, Endpoint
from bench.launcher import APPLICATION, FLOOR, Launcher
from bench.load import Job
from bench.measure import Generator, Series, Variant, compare, disturbed, generator
from bench.servers import ROOT, BenchError, Server, call

BARE_FLOOR = "floor, token cached"
_ME = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "me")
QUIET, SIGNING_IN = "no sign-ins", f"{SIGN_IN_CLIENTS} clients sign in"
FLOODED = f"{FLOOD_CLIENTS} are refused"


@dataclass(frozen=True)
class Options:
    seconds: float
    rounds: int
    connections: int
    only: tuple[str, ...]
    pin: bool
    against: tuple[Path, ...]


@dataclass
class Findings:
    """The results of a run."""

    cores: tuple[int, int] | None
    endpoints: dict[str, list[Series]] = field(default_factory=dict)
    sign_in: list[Series] = field(default_factory=list)
    sign_ins: int = 0
    flood: list[Series] = field(default_factory=list)
    refused: int = 0
    limits: list[Series] = field(default_factory=list)
    guesses: list[guessing.Bursts] = field(default_factory=list)
    seconds_to_ready: float = 0.0
    resident_megabytes: float | None = None

    def failures(self) -> Iterator[str]:
        """Yield a line for each series with responses of an unexpected status."""
        for name, variants in [
            *self.endpoints.items(),
            ("sign-in", self.sign_in),
            ("limits", self.limits),
            ("flood", self.flood),
        ]:
            for series in variants:
                if series.errors:
                    yield f"{name}, {series.name}: {series.errors} errors: {series.first_error}"
        for bursts in self.guesses:
            yield from bursts.failures()


def run(options: Options, say: Callable[[str], None]) -> Findings:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # Before any process starts, because processes inherit the affinity.
        cores = stack.enter_context(pinned()) if options.pin else None
        findings = Findings(cores)
        say("Starting PostgreSQL and the servers ...")
        url = stack.enter_context(data.database(folder / "postgres"))
        launcher = Launcher(stack, folder, _settings(url))
        server = launcher.application(APPLICATION, ROOT)
        findings.seconds_to_ready = server.seconds_to_ready
        token = data.fill(url, server)
        others = [(f"in {checkout.name}", checkout) for checkout in options.against]
        variants = [
            Variant(APPLICATION, server),
            *(Variant(name, launcher.application(name, checkout)) for name, checkout in others),
            Variant(FLOOR, launcher.floor()),
        ]
        load = stack.enter_context(generator(cores[1] if cores else None))
        for endpoint in ENDPOINTS:
            if not options.only or endpoint.name in options.only:
                say(f"Measuring {endpoint.name} ...")
                findings.endpoints[endpoint.name] = _compare_variants(
                    endpoint, variants, load, token, url, options
                )
        if not options.only or {"sign-in", "flood"} & set(options.only):
            disturbing = stack.enter_context(generator(cores[1] if cores else None))
            if not options.only or "sign-in" in options.only:
                say("Measuring me while clients sign in ...")
                _disturb(findings, variants[0], load, disturbing, token, options)
            if not options.only or "flood" in options.only:
                say("Measuring me while sign-ins are refused ...")
                _flood(findings, launcher, load, disturbing, token, options)
        if not options.only or "limits" in options.only:
            say("Measuring the cost of rate limits ...")
            findings.limits = _measure_limits(launcher, load, token, options)
        findings.resident_megabytes = server.resident_megabytes()
        if not options.only or "guessing" in options.only:
            say("Measuring bursts of password guesses ...")
            findings.guesses = _measure_guessing(launcher, options)
    return findings


def _settings(url: str) -> dict[str, str]:
    return {
        "ENVIRONMENT": "test",
        "LOG_FORMAT": "json",
        "DATABASE_URL": url,
        "SECRET_KEY": secrets.token_urlsafe(48),
        # All requests come from one user.
        "RATE_LIMIT_ENABLED": "false",
        # Longer than any run.
        "ACCESS_TOKEN_TTL": "86400",
    }


def _compare_variants(
    endpoint: Endpoint,
    variants: list[Variant],
    load: Generator,
    token: str,
    url: str,
    options: Options,
) -> list[Series]:
    """Measure the endpoint of all variants; of the floor also below `/cached`, if signed in."""
    floor = variants[-1].server
    _ensure_same_responses(endpoint, variants[0].server, floor, token)
    bare = [Variant(BARE_FLOOR, floor, "/cached")] if endpoint.signed_in else []
    return compare(
        endpoint,
        [*variants, *bare],
        load,
        token=token,
        rounds=options.rounds,
        seconds=options.seconds,
        connections=options.connections,
        between=(lambda: data.reset_tables(url)) if endpoint.body else lambda: None,
    )


def _measure_limits(
    launcher: Launcher, load: Generator, token: str, options: Options
) -> list[Series]:
    """Measure `me` without rate limits, and with the hits in each kind of storage."""
    redis = launcher.stack.enter_context(limits.redis(launcher.folder / "redis"))
    return compare(
        _ME,
        [
            Variant(name, launcher.application(name, ROOT, settings))
            for name, settings in limits.storages(redis).items()
        ],
        load,
        token=token,
        rounds=options.rounds,
        seconds=options.seconds,
        connections=options.connections,
        between=lambda: None,
    )


def _measure_guessing(launcher: Launcher, options: Options) -> list[guessing.Bursts]:
    """Measure password guessing with several processes, which may use all cores."""
    with unpinned():
        url = launcher.stack.enter_context(data.database(launcher.folder / "guessing"))
        settings = guessing.SETTINGS | {"DATABASE_URL": url}
        processes = guessing.PROCESSES
        server = launcher.application("guessing", ROOT, settings, processes=processes)
        return guessing.measure(server, url, options.rounds)


def _ensure_same_responses(endpoint: Endpoint, server: Server, floor: Server, token: str) -> None:
    """Raise `BenchError` unless the floor's response equals the application's."""
    headers = {"Authorization": f"Bearer {token}"} if endpoint.signed_in else {}
    if endpoint.body:
        headers["Content-Type"] = "application/json"
    responses = []
    for target in (server, floor):
        status, body = call(target.port, endpoint.method, endpoint.path, headers, endpoint.body)
        value = json.loads(body)
        # A created resource has a new id and time, so only its keys are compared.
        responses.append((status, sorted(value) if endpoint.body else value))
    if responses[0] != responses[1]:
        raise BenchError(f"The floor's response to {endpoint.name} differs: {responses}")


def _disturb(
    findings: Findings,
    variant: Variant,
    load: Generator,
    signing: Generator,
    token: str,
    options: Options,
) -> None:
    login = Endpoint("login", "POST", f"{data.API}/login", json.dumps(data.CREDENTIALS))
    port = variant.server.port
    job = Job(port, [_ME.request(port, token)], options.connections, options.seconds)
    logins = Job(port, [login.request(port, token)], SIGN_IN_CLIENTS, options.seconds)
    findings.sign_in, findings.sign_ins = disturbed(
        variant, load, job, signing, logins, (QUIET, SIGNING_IN), options.rounds
    )


def _flood(
    findings: Findings,
    launcher: Launcher,
    load: Generator,
    flooding: Generator,
    token: str,
    options: Options,
) -> None:
    """Measure `me` for a few clients while many others guess one password and are refused."""
    server = launcher.application("flood", ROOT, guessing.SETTINGS)
    job = Job(server.port, [_ME.request(server.port, token)], ME_CLIENTS, options.seconds)
    wrong = guessing.WRONG.request(server.port, "")
    guesses = Job(server.port, [wrong], FLOOD_CLIENTS, options.seconds, expected="4")
    findings.flood, findings.refused = disturbed(
        Variant(APPLICATION, server), load, job, flooding, guesses, (QUIET, FLOODED), options.rounds
    )
