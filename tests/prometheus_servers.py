"""A real Prometheus that scrapes servers of a test."""

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commands import eventually, fetch, free_port


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; skip the test if it is not installed."""
    found = shutil.which(name)
    if found is None:
        assert not os.environ.get("CI"), f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def prometheus(folder: Path, ports: Mapping[str, int], interval: str = "1s") -> Iterator[str]:
    """Scrape the port of each job during the block, and yield the server's URL."""
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for name, port in ports.items()
    ]
    configuration = folder / "prometheus.yml"
    # JSON is YAML.
    configuration.write_text(
        json.dumps({"global": {"scrape_interval": interval}, "scrape_configs": jobs})
    )
    port = free_port()
    process = subprocess.Popen(
        [
            program("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        stdin=subprocess.DEVNULL,
        cwd=folder,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: query(url, "up == 1"))
        yield url
    finally:
        process.terminate()
        process.wait(30)


def query(url: str, expression: str, *, at: float | None = None) -> list[dict[str, Any]]:
    """Return the series of an instant query, now or at a Unix time; none while it starts."""
    time = {} if at is None else {"time": f"{at:.3f}"}
    asked = urllib.parse.urlencode({"query": expression, **time})
    status, answer = _answer(url, f"/api/v1/query?{asked}")
    if status != 200:
        assert status in (0, 503), (expression, answer)
        return []
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def _answer(url: str, path: str) -> tuple[int, Any]:
    try:
        return fetch(url, path)
    except ValueError:  # a text while it starts
        return 503, None
