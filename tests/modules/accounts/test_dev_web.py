"""`make dev-web` says in one sentence why it does not start."""

import socket
from pathlib import Path

import pytest

from tests.commands import ROOT
from tools import dev_web


def refusal(monkeypatch: pytest.MonkeyPatch, **settings: str) -> str:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        dev_web.main()
    return str(stopped.value).removeprefix("The example was not started: ")


def test_mails_must_link_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, FRONTEND_URL="https://app.example.com") == (
        "FRONTEND_URL is https://app.example.com, where mails link to. Set it to "
        "http://localhost:3000, or unset it."
    )
    assert "FRONTEND_URL: must be an http:// or" in refusal(monkeypatch, FRONTEND_URL="nonsense")


def test_node_must_be_there_and_new_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sentence = "there is no npm. Install Node 20.19, or 22.12 or newer."
    assert refusal(monkeypatch, PATH=str(tmp_path)) == sentence
    for name in ("npm", "node"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    fails = "`node --version` fails. Install Node 20.19, or 22.12 or newer."
    assert refusal(monkeypatch) == fails
    (tmp_path / "node").write_text("no program")
    assert refusal(monkeypatch) == fails
    for version in ("v18.20.4", "v21.7.3", "v22.11.0"):
        (tmp_path / "node").write_text(f"#!/bin/sh\necho {version}\n")
        needed = "it needs Node 20.19, or 22.12 or newer, and this is"
        assert refusal(monkeypatch) == f"{needed} {version}."
    for version in ("v20.19.0", "v22.12.0", "v24.0.0"):
        (tmp_path / "node").write_text(f"#!/bin/sh\necho {version}\n")
        dev_web.require_node()


def test_the_port_must_be_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("npm", "node"):
        (tmp_path / name).write_text("#!/bin/sh\necho v22.12.0\n")
        (tmp_path / name).chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(monkeypatch, PATH=str(tmp_path), FRONTEND_URL=f"http://localhost:{port}")
    assert said.startswith(f"port {port} cannot be used (Address already in use).")


def test_the_default_port_is_that_of_mailed_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRONTEND_URL", raising=False)
    monkeypatch.chdir("/")
    port = dev_web.frontend_port()
    assert f"port: {port}," in (ROOT / "examples/web/vite.config.ts").read_text()


def test_an_api_that_does_not_respond_is_noticed() -> None:
    assert not dev_web.responds("http://127.0.0.1:1")
    assert not dev_web.responds("nonsense")
