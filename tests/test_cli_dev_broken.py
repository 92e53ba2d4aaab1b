"""`backend dev` responds 503 with the reason while code or settings are invalid."""

import http.client
import json
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from backend.product import TITLE
from tests.commands import ROOT, Running, eventually, fetch, running

pytestmark = pytest.mark.slow
PAGE = "http://localhost:5173"


def copy_to(project: Path) -> None:
    for name in ("backend", "migrations"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, project / name, ignore=ignored)


@contextmanager
def developing(project: Path, url: str, **settings: Any) -> Iterator[Running]:
    """`backend dev` on a copy of the code; everything it started ends with the block."""
    copy_to(project)
    settings["DATABASE_URL"] = url
    with running("dev", "--port", "0", folder=project, project=project, **settings) as dev:
        dev.wait_for("Stop +Ctrl-C")
        assert fetch(dev.url, "/health/ready")[0] == 200
        yield dev
        dev.kill(signal.SIGINT)
        assert dev.wait() == 0


def request(
    dev: Running, method: str, path: str, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    target = urlsplit(dev.url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def refused(dev: Running, count: int) -> None:
    """Wait until the API has ended this many times."""
    eventually(lambda: dev.output.count("The API ended with exit code 1.") == count)


def works_again(dev: Running) -> None:
    eventually(lambda: fetch(dev.url, "/health/ready")[0] == 200)


def test_every_request_is_told_why_and_the_next_save_mends_it(
    own_database_url: str, tmp_path: Path
) -> None:
    service = tmp_path / "backend" / "modules" / "items" / "service.py"
    with developing(tmp_path, own_database_url) as dev:
        right = service.read_text()
        service.write_text(f"this is no <Python>\n{right}")
        refused(dev, 1)
        sentence = "Module 'items' does not load: SyntaxError: invalid syntax (service.py, line 1)"
        for method, path in (
            *(("GET", path) for path in ("/health/live", "/", "/api/v1/items", "/docs?x=1")),
            *((method, "/api/v1/items") for method in ("POST", "PUT", "DELETE", "PATCH")),
        ):
            asked = time.monotonic()
            status, headers, body = request(dev, method, path, Origin=PAGE)
            assert time.monotonic() - asked < 5
            assert (status, headers["content-type"]) == (503, "application/problem+json")
            problem = json.loads(body)
            assert (problem["error"], problem["status"]) == ("SERVICE_UNAVAILABLE", 503)
            assert problem["detail"] == sentence
            assert problem["path"] == path.partition("?")[0]
            assert problem["request_id"] == headers["x-request-id"]
            assert int(headers["retry-after"]) > 0
            assert headers["access-control-allow-origin"] == PAGE
            assert headers["x-content-type-options"] == "nosniff"
        status, headers, body = request(dev, "HEAD", "/")
        assert (status, body) == (503, b"")
        preflight = {"Access-Control-Request-Method": "POST", "Origin": PAGE}
        assert request(dev, "OPTIONS", "/api/v1/items", **preflight)[0] == 204
        status, headers, body = request(dev, "GET", "/docs", Accept="text/html,*/*;q=0.8")
        assert (status, headers["content-type"]) == (503, "text/html; charset=utf-8")
        assert b"SyntaxError: invalid syntax (service.py, line 1)" in body
        # A second error replaces the first one in the response.
        service.write_text(f"raise RuntimeError('<b>broken</b> on purpose')\n{right}")
        refused(dev, 2)
        text = request(dev, "GET", "/")[2]
        assert b"RuntimeError: <b>broken</b> on purpose" in text
        page = request(dev, "GET", "/", Accept="text/html")[2]
        assert b"&lt;b&gt;broken&lt;/b&gt; on purpose" in page
        service.write_text(right)
        works_again(dev)
        assert fetch(dev.url, "/api/v1/items")[0] == 401


def test_broken_settings_and_a_broken_core_are_told_as_well(
    own_database_url: str, tmp_path: Path
) -> None:
    settings = tmp_path / ".env"
    core = tmp_path / "backend" / "core" / "principal.py"
    with developing(tmp_path, own_database_url) as dev:
        settings.write_text("CORS_ORIGINS=concealed.example\n")
        refused(dev, 1)
        detail = json.loads(request(dev, "GET", "/")[2])["detail"]
        assert "CORS_ORIGINS: entry 1 has no scheme" in detail
        assert "concealed" not in detail
        settings.write_text("CORS_ORIGINS=https://app.example.com\n")
        works_again(dev)
        answer = request(dev, "GET", "/health", Origin="https://app.example.com")
        assert answer[1]["access-control-allow-origin"] == "https://app.example.com"
        right = core.read_text()
        core.write_text(f"raise SystemExit('This file ends the program.')\n{right}")
        refused(dev, 2)
        detail = json.loads(request(dev, "GET", "/")[2])["detail"]
        assert detail == "This file ends the program."
        core.write_text(right)
        works_again(dev)
        # A new folder that is not a module, and its removal.
        folder = tmp_path / "backend" / "modules" / "half"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        refused(dev, 3)
        detail = json.loads(request(dev, "GET", "/")[2])["detail"]
        assert detail.startswith("Module 'half' has no manifest.py")
        shutil.rmtree(folder)
        works_again(dev)


def test_it_stops_at_a_signal_while_the_code_is_broken(
    own_database_url: str, tmp_path: Path
) -> None:
    with developing(tmp_path, own_database_url) as dev:
        (tmp_path / "backend" / "main.py").write_text("raise SystemExit('Broken.')")
        refused(dev, 1)
        assert json.loads(request(dev, "GET", "/")[2])["detail"] == "Broken."


@pytest.mark.parametrize("mistake", ["this is no <Python>", "raise RuntimeError('broken')"])
def test_code_may_be_broken_at_the_first_start(
    own_database_url: str, tmp_path: Path, mistake: str
) -> None:
    copy_to(tmp_path)
    service = tmp_path / "backend" / "modules" / "items" / "service.py"
    right = service.read_text()
    service.write_text(f"{mistake}\n{right}")
    options: dict[str, Any] = {"folder": tmp_path, "DATABASE_URL": own_database_url}
    with running("dev", "--port", "0", project=tmp_path, **options) as dev:
        sentence = dev.wait_for(r"Module 'items' does not load: .+\n").strip()
        url = dev.wait_for(
            r"(http://127.0.0.1:\d+) answers with this sentence until the code changes."
        )
        for path in ("/", "/api/v1/items", "/health/ready"):
            status, _, body = request(dev, "GET", path)
            assert (status, json.loads(body)["detail"]) == (503, sentence)
        service.write_text(right)
        dev.wait_for("Stop +Ctrl-C")
        assert f"API        {url}/api/v1\n" in dev.output
        works_again(dev)
        dev.kill(signal.SIGINT)
        assert dev.wait() == 0


def test_it_stops_at_a_signal_before_its_first_start(tmp_path: Path) -> None:
    copy_to(tmp_path)
    (tmp_path / "backend" / "modules" / "items" / "manifest.py").unlink()
    with running("dev", "--port", "0", folder=tmp_path, project=tmp_path) as dev:
        dev.wait_for("until the code changes")
        dev.kill(signal.SIGINT)
        assert dev.wait() == 0
    assert not (tmp_path / "data").exists()


def test_an_api_that_does_not_start_the_first_time_is_waited_for(
    own_database_url: str, tmp_path: Path
) -> None:
    copy_to(tmp_path)
    main = tmp_path / "backend" / "main.py"
    right = main.read_text()
    main.write_text("raise SystemExit('Broken.')")
    options: dict[str, Any] = {"folder": tmp_path, "DATABASE_URL": own_database_url}
    with running("dev", "--port", "0", project=tmp_path, **options) as dev:
        refused(dev, 1)
        assert f"{TITLE} is waiting for its API." in dev.output
        assert json.loads(request(dev, "GET", "/")[2])["detail"] == "Broken."
        main.write_text(right)
        works_again(dev)
        dev.kill(signal.SIGINT)
        assert dev.wait() == 0
