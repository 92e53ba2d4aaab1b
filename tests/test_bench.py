"""The benchmark runs, counts and cleans up; speed is not tested."""

import asyncio
import json
from pathlib import Path

import pytest

from bench.endpoints import BURST
from bench.limits import REDIS_SERVER
from bench.load import Job, Result, run
from tests.bench_runs import bench_output

ROOT = Path(__file__).resolve().parents[1]
# Rows of `me`: three variants, two with sign-ins, two with a flood, and one per limit storage.
ROWS = {"health": 2, "me": 10 + (REDIS_SERVER is not None), "list": 3, "create": 3}


# Seven servers are started, one of them with four processes.
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_run_measures_everything_without_an_error(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ["--seconds", "1", "--rounds", "1", "--connections", "4", "--no-pin"]
    output = bench_output("bench", *options, "--json", report, folder=tmp_path)
    rows = [line.split()[0] for line in output.splitlines() if line.strip()]
    assert {name: rows.count(name) for name in ROWS} == ROWS
    figures = json.loads(report.read_text())
    for variants in (*figures["endpoints"].values(), figures["limits"], figures["flood"]):
        for series in variants:
            assert [result["errors"] for result in series["results"]] == [0]
            assert series["results"][0]["responses"] > 0
    statuses = [bursts["results"][0]["statuses"] for bursts in figures["guesses"]]
    assert statuses == [{"200": BURST}, *[{"401": 5, "429": BURST - 5}] * 3]
    assert list(tmp_path.iterdir()) == [report]


async def test_answers_in_pieces_are_put_together() -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\n12", b"34"]
    result = await _load(pieces)
    assert result.responses > 0
    assert result.errors == 0


async def test_any_other_status_is_an_error() -> None:
    result = await _load([b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"])
    assert result.responses == 0
    assert result.errors > 0
    assert "404" in result.first_error


async def test_a_closed_connection_is_an_error() -> None:
    result = await _load([])
    assert result.errors == 2


async def _load(pieces: list[bytes]) -> Result:
    """Run the generator against a server that sends these pieces, or only closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while pieces and await reader.read(1000):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.001)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        return await run(Job(port, ["GET / HTTP/1.1\r\n\r\n"], connections=2, seconds=0.05))
