"""Memory of a worker under mixed load: it must not grow with the requests that it served."""

import json
import time

from bench.endpoints import CREATED_TITLE, Endpoint
from bench.growth.findings import Curve, Goal, Panel, Part
from bench.growth.site import CALLERS, ITEMS, Site, items_of
from bench.load import Job
from bench.servers import ROOT, BenchError, Server

WORKERS = 2
CONNECTIONS = 32
SLICE_SECONDS = 10.0
KEPT = 1.1
CREATED = json.dumps({"title": CREATED_TITLE, "description": "Of no further use."})
NAME = json.dumps({"full_name": "Ada Lovelace"})
MIXED = (
    Endpoint("me", "GET", "/api/v1/users/me"),
    Endpoint("list", "GET", f"{ITEMS}?limit=20"),
    Endpoint("create", "POST", ITEMS, CREATED),
    Endpoint("sorted list", "GET", f"{ITEMS}?sort=title,-created_at&limit=50&total=true"),
    Endpoint("search", "GET", f"{ITEMS}?q=Item%201&fields=id,title"),
    Endpoint("articles", "GET", "/api/v1/articles", signed_in=False),
    Endpoint("sessions", "GET", "/api/v1/auth/sessions"),
    Endpoint("rename", "PATCH", "/api/v1/users/me", NAME),
    Endpoint("statistics", "GET", "/api/v1/users/me/statistics"),
)
REFUSED = (
    Endpoint("unknown item", "GET", f"{ITEMS}/0198f4c2-0000-7000-8000-000000000000"),
    Endpoint("wrong limit", "GET", f"{ITEMS}?limit=0"),
    Endpoint("no token", "GET", "/api/v1/users/me", signed_in=False),
    Endpoint("wrong body", "POST", ITEMS, json.dumps({"title": ""})),
)


def measure_memory(site: Site, minutes: float) -> Part:
    url = site.copy_of_base("memory")
    samples: list[tuple[float, float]] = []
    errors: list[str] = []
    responses = 0
    with site.launcher(url) as launcher, site.generator() as load, site.generator() as failing:
        server = launcher.application("memory", ROOT, processes=WORKERS)
        requests = _requests(server, site.tokens)
        refused = [each.request(server.port, site.tokens[0]) for each in REFUSED]
        seconds = min(SLICE_SECONDS, minutes * 60)
        started = time.monotonic()
        while time.monotonic() - started < minutes * 60:
            load.start(Job(server.port, requests, CONNECTIONS, seconds))
            failing.start(Job(server.port, refused, len(refused), seconds, expected="4"))
            for result in (load.result(), failing.result()):
                responses += result.responses
                if result.errors:
                    errors.append(f"{result.errors}, first {result.first_error!r}")
            # Each connection sends another request in the next slice.
            requests = requests[CONNECTIONS:] + requests[:CONNECTIONS]
            elapsed = (time.monotonic() - started) / 60
            megabytes = server.resident_megabytes()
            if megabytes is None:
                raise BenchError("The memory of processes is measured on Linux only.")
            samples.append((elapsed, megabytes))
            site.say(f"{elapsed:.1f} of {minutes:g} minutes: {megabytes:.1f} MB ...")
    return _part(samples, responses, errors)


def _requests(server: Server, tokens: list[str]) -> list[str]:
    """Return the requests of all callers, so that consecutive ones differ in kind and caller."""
    requests = []
    for shift in range(len(MIXED) + 1):
        for number, token in enumerate(tokens):
            kind = (number + shift) % (len(MIXED) + 1)
            endpoint = MIXED[kind] if kind < len(MIXED) else items_of(server, token, 1)[0]
            requests.append(endpoint.request(server.port, token))
    return requests


def _part(samples: list[tuple[float, float]], responses: int, errors: list[str]) -> Part:
    # The first sample after a minute, or the first of a shorter run.
    first = next((sample for sample in samples if sample[0] >= 1), samples[0])
    last = samples[-1]
    times = last[1] / first[1]
    most = max(megabytes for _, megabytes in samples)
    return Part(
        "Memory",
        f"{WORKERS} workers, {CONNECTIONS} connections of {CALLERS} callers with {len(MIXED) + 1} "
        f"kinds of requests, and {len(REFUSED)} connections whose requests are refused: "
        f"{responses:,} responses. The memory is the resident memory of the larger worker.",
        [
            ["minutes", "MB"],
            *([f"{minutes:.1f}", f"{value:.1f}"] for minutes, value in _few(samples)),
        ],
        [
            Goal(
                f"memory after {last[0]:.0f} minutes within 10 % of that after {first[0]:.0f}",
                f"{first[1]:.1f} and {last[1]:.1f} MB, {times:.2f} times; at most {most:.1f} MB",
                times <= KEPT,
            )
        ],
        [Panel("Memory of a worker in MB", "minutes", [Curve("resident", samples)], log_x=False)],
        errors,
    )


def _few(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most eleven samples with even distances, the last one among them."""
    step = max(1, len(samples) // 10)
    return samples[::-1][::step][::-1]
