"""Requests that schemathesis makes from the OpenAPI document, and the answers to them."""

import asyncio
import sys
from functools import partial
from pathlib import Path

import pytest

from backend.core.context import Context
from backend.server.bounds import Bounds
from backend.server.protocol import Protocol
from tests.actors import Actor
from tests.applications import make_app
from tests.servers import serving

# Its other checks take a documented 422, 413 or 404 of a request that suits the schema for a
# mistake, and a bound that no schema can tell.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method"
)
# These end the caller's session, or change the caller.
SPARED = r"/auth/(logout|sessions|refresh)|/users/me|/users/\{id\}|password"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("caller", ["admin", "nobody"])
async def test_every_answer_is_as_described(
    context: Context, admin: Actor, caller: str, tmp_path: Path
) -> None:
    token = ["--header", f"Authorization: Bearer {admin.token}"] if caller == "admin" else []
    protocol = partial(Protocol, bounds=Bounds())
    async with serving(make_app(context), http=protocol, proxy_headers=False) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
            *("--checks", CHECKS, "--max-examples", "20", "--phases", "examples,coverage,fuzzing"),
            *("--exclude-path-regex", SPARED, "--continue-on-failure", "--no-color", *token),
            cwd=tmp_path,  # keeps a record of its own there
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert b"Tested: 3" in told, told.decode()
