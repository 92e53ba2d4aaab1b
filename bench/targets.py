"""Starting and preparing another server, as a file in `bench/targets` describes it."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

from bench.data import Rows
from bench.endpoints import raw_request
from bench.servers import KEPT, BenchError, Server, call, free_port, serving
from bench.target_file import Login, Request, Target, filled, filled_json

COMMAND_SECONDS = 300


@dataclass(frozen=True)
class Calls:
    """The requests of all callers to one endpoint, and their usual response."""

    requests: list[str]
    status: int
    response_bytes: int


@dataclass(frozen=True)
class Contender:
    """A running server with its data; `reset` removes the rows that a measurement created."""

    name: str
    server: Server
    calls: dict[str, Calls]
    reset: Callable[[], None]


def start_target(
    target: Target, stack: ExitStack, folder: Path, url: str, rows: Rows, checkout: Path | None
) -> Contender:
    """Prepare the database, start the server and sign the callers in."""
    values = {
        "database_url": url,
        "port": str(free_port()),
        "secret": secrets.token_urlsafe(24),
        **({"checkout": str(checkout)} if checkout else {}),
    }
    cwd = (checkout or folder) / target.folder
    if not cwd.is_dir():
        raise BenchError(f"{target.name}: there is no folder {cwd}.")
    # VIRTUAL_ENV names the environment of this project.
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    kept.pop("VIRTUAL_ENV", None)
    environment = kept | filled_json(target.environment, values)
    for command in target.database.commands:
        _run(target.name, filled_json(command, values), cwd, environment)
    server = stack.enter_context(
        serving(
            target.name,
            filled_json(target.command, values),
            port=int(values["port"]),
            folder=folder / target.name,
            environment=environment,
            ready=target.ready,
            patience=target.ready_seconds,
            cwd=cwd,
        )
    )
    for request in target.requests:
        _send(server, request, {}, {})
    numbers = {
        "callers": str(rows.callers),
        "items_of_caller": str(rows.items_of_caller),
        "other_users": str(rows.other_users),
        "other_items": str(rows.other_items),
    }
    _execute(target.name, url, [filled(each, numbers) for each in target.database.statements])

    def reset() -> None:
        reset_database(target.name, url, target.database.reset)

    headers = [_sign_in(server, target.login, number) for number in range(rows.callers)]
    named = {name: getattr(target.endpoints, name) for name in target.endpoints.model_fields_set}
    calls = {name: _calls(server, name, request, headers) for name, request in named.items()}
    # Last, because the requests above may have created rows.
    reset()
    return Contender(target.name, server, calls, reset)


def reset_database(name: str, url: str, statements: Sequence[str]) -> None:
    """Execute the statements; the rest makes the statistics and files of all servers alike."""
    _execute(name, url, [*statements, "VACUUM ANALYZE", "CHECKPOINT"])


def _execute(name: str, url: str, statements: Sequence[str]) -> None:
    # Drivers other than psycopg may have their own schemes.
    scheme, _, rest = url.partition("://")
    with psycopg.connect(f"{scheme.partition('+')[0]}://{rest}", autocommit=True) as connection:
        for statement in statements:
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                reason = str(error).strip()
                raise BenchError(f"{name}: the statement {statement!r} fails: {reason}") from None


def _run(name: str, command: list[str], cwd: Path, environment: Mapping[str, str]) -> None:
    words = " ".join(command)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except OSError as error:
        raise BenchError(f"{name}: the command {command[0]} does not run: {error}.") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"{name}: {words!r} took more than {COMMAND_SECONDS} seconds.") from None
    if done.returncode:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise BenchError(f"{name}: {words!r} ended with code {done.returncode}:\n{output}")


def _sign_in(server: Server, login: Login | None, caller: int) -> dict[str, str]:
    """Return the header that identifies a caller."""
    if login is None:
        return {}
    response = _send(server, login, {}, {"caller": str(caller)}, "login")
    try:
        token = json.loads(response)
        for name in login.token.split("."):
            token = token[name]
    except (ValueError, KeyError, TypeError):
        raise BenchError(
            f"{server.name}: the response to the login has no member {login.token!r}: "
            f"{_shortened(response)}"
        ) from None
    name, _, value = filled(login.header, {"token": str(token)}).partition(": ")
    return {name: value}


def _calls(server: Server, name: str, request: Request, headers: list[dict[str, str]]) -> Calls:
    response = _send(server, request, headers[0], {}, f"endpoint {name!r}")
    body, type_ = _body(request, {})
    requests = [
        raw_request(server.port, request.method, request.path, {**caller, **type_}, body)
        for caller in headers
    ]
    return Calls(requests, request.status, len(response))


def _send(
    server: Server,
    request: Request,
    headers: Mapping[str, str],
    values: Mapping[str, str],
    what: str = "preparation",
) -> bytes:
    """Send a request; raise `BenchError` unless the response has the expected status."""
    body, type_ = _body(request, values)
    place = f"{server.name}: {what}: {request.method} {request.path}"
    try:
        status, response = call(
            server.port, request.method, request.path, {**headers, **type_}, body
        )
    except (OSError, HTTPException) as error:
        raise BenchError(f"{place} got no response: {error}.") from None
    if status != request.status:
        raise BenchError(
            f"{place} responded with {status} instead of {request.status}: {_shortened(response)}"
        )
    return response


def _body(request: Request, values: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the body and its type; without `values`, texts in braces stay as they are."""
    fill: Callable[[Any], Any] = partial(filled_json, values=values) if values else lambda it: it
    if request.form is not None:
        return urlencode(fill(request.form)), {"Content-Type": "application/x-www-form-urlencoded"}
    if request.json_body is not None:
        return json.dumps(fill(request.json_body)), {"Content-Type": "application/json"}
    return "", {}


def _shortened(response: bytes) -> str:
    return response[:300].decode(errors="replace") or "(no body)"
