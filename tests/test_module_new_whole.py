"""A module of `backend module new` passes the checks and its own tests, and serves requests."""

import ast
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.applications import MODULES
from tests.commands import ROOT, output_of, running
from tests.documents import adds, files_of_page
from tests.test_module_new import SAMPLES

PASSWORD = "correct horse battery"
HAS_ITEMS = any(module.name == "items" for module in MODULES)
FIELDS = ", ".join(
    [
        *(f"{field}{':unique' if 'number' in field else ''}" for field, _ in SAMPLES.values()),
        *(["item:ref(items)?"] if HAS_ITEMS else []),
        "remark:text?",
    ]
)
BODY = {
    "number": "A-1",
    "remarks": "Paid late.",
    "quantity": 3,
    "amount": "12.5",
    "is_paid": False,
    "due_on": "2026-01-31",
    "sent_at": "2026-01-01T13:00:00+01:00",
    "external_key": "01920000-0000-7000-8000-000000000001",
    "contact": "ada@example.com",
    "homepage": "https://example.com/",
    "status": "draft",
}
SHOWN = {"amount": "12.5000", "sent_at": "2026-01-01T12:00:00.000000Z", "remark": None}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the code of this one."""
    made = tmp_path / "project"
    for folder in ("backend", "migrations", "tests", "tools", "docs"):
        shutil.copytree(ROOT / folder, made / folder)  # with bytecode, for a quick start
    if (ROOT / ".mypy_cache").exists():
        # Without it, mypy takes as long as all the rest.
        shutil.copytree(ROOT / ".mypy_cache", made / ".mypy_cache")
    for file in ("pyproject.toml", "openapi.json", "openapi.released.json"):
        shutil.copy2(ROOT / file, made / file)
    (made / ".gitignore").write_text("__pycache__/\n.*_cache/\n.hypothesis/\n")
    git(made, "init", "--quiet")
    commit(made)
    return made


def commit(project: Path) -> None:
    git(project, "add", ".")
    author = "-c", "user.name=Tests", "-c", "user.email=tests@example.com"
    git(project, *author, "commit", "--quiet", "--message", "A step")


def git(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=project, capture_output=True, text=True, check=True
    )
    return done.stdout


def python(project: Path, *arguments: str) -> None:
    """Run a tool of the project in it; fail with its output."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def signed_in(project: Path, folder: Path, database_url: str) -> Iterator[httpx.Client]:
    """Serve the project's API during the block; yield a client of a member."""
    settings: dict[str, Any] = {"DATABASE_URL": database_url, "DATA_DIR": folder / "data"}
    with running("serve", "--port", "0", folder=folder, project=project, **settings) as serve:
        with httpx.Client(base_url=f"{serve.url}/api/v1") as client:
            serve.wait_for("Application startup complete")
            account = {"email": "ada@example.com", "password": PASSWORD}
            assert client.post("/auth/register", json=account).status_code == 201
            token = client.post("/auth/login", json=account).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client
        serve.kill(signal.SIGTERM)
        assert serve.wait() == 0


@pytest.mark.slow
def test_a_dry_run_lists_the_files_and_writes_none(tmp_path: Path) -> None:
    shown = output_of("module", "new", "made_purchase_orders", "--dry-run", folder=tmp_path)
    paths = [line.split()[0] for line in shown.splitlines()[1:]]
    assert shown.startswith("It would write:\n")
    assert "backend/modules/made_purchase_orders/service.py" in paths
    assert "tests/modules/made_purchase_orders/test_made_purchase_orders.py" in paths
    assert re.fullmatch(r"migrations/versions/\d{4}_add_made_purchase_orders.py", paths[-1])
    assert [path for path in paths if (ROOT / path).exists()] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@adds("bookmarks")
def test_a_module_with_every_type(project: Path, tmp_path: Path, own_database_url: str) -> None:
    def backend(*arguments: str) -> str:
        return output_of(*arguments, folder=project, project=project, DATABASE_URL=own_database_url)

    for path, text in documented_module().items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    backend("db", "revision", "add bookmarks")
    python(project, "tools.pages")
    commit(project)
    said = backend("module", "new", "made_invoices", "--fields", FIELDS)
    written = [line.split()[0] for line in said.splitlines() if line.endswith(" lines")]
    untracked = git(project, "ls-files", "--others", "--exclude-standard").split()
    assert sorted(written) == sorted(untracked)
    assert 'make test args="tests/modules/made_invoices"' in said
    commit(project)
    python(project, "ruff", "check")
    python(project, "ruff", "format", "--check")
    python(project, "tools.contract")
    python(project, "mypy", "backend/modules", *filter(is_test, written))
    backend("db", "upgrade")
    backend("db", "check")
    tests = "tests/modules/made_invoices", "tests/modules/bookmarks"
    python(project, "pytest", "--quiet", "-p", "no:randomly", *tests)
    with signed_in(project, tmp_path, own_database_url) as ada:
        use(ada)
    backend("module", "remove", "made_invoices", "--yes")
    backend("db", "upgrade")
    backend("db", "downgrade", "-2")
    with psycopg.connect(own_database_url) as connection:
        assert connection.execute("SELECT to_regclass('made_invoices')").fetchone() == (None,)
    commit(project)
    changed = git(project, "diff", "--name-only", "HEAD~2").split()
    others = [name for name in changed if not name.startswith("migrations/")]
    assert (others, [name for name in changed if "made_invoices" not in name]) == ([], [])
    assert git(project, "status", "--porcelain") == ""


def documented_module() -> dict[str, str]:
    """Return the files of the module in docs/modules.md by path."""
    return {**files_of_page("modules.md"), "tests/modules/bookmarks/__init__.py": ""}


def lines_of_code(text: str) -> int:
    """Return the number of lines without imports, blank lines and the docstring of the file."""
    tree = ast.parse(text)
    left_out = {
        number
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    lines = enumerate(text.splitlines(), start=1)
    return sum(1 for number, line in lines if line.strip() and number not in left_out)


def test_the_documented_module_has_less_than_150_lines() -> None:
    files = documented_module()
    assert len(files) == 10
    assert sum(map(lines_of_code, files.values())) < 150


def is_test(path: str) -> bool:
    return "/test_" in path


def use(ada: httpx.Client) -> None:
    me = ada.get("/users/me").json()["id"]
    body = {**BODY, "customer_id": me}
    key = {"Idempotency-Key": "once"}
    made = ada.post("/made-invoices", json=body, headers=key)
    assert made.status_code == 201, made.text
    invoice = made.json()
    assert invoice == {**invoice, **body, **SHOWN, "owner_id": me}
    assert ada.post("/made-invoices", json=body, headers=key).json() == invoice
    taken = ada.post("/made-invoices", json=body)
    assert (taken.status_code, taken.json()["error"]) == (409, "MADE_INVOICE_NUMBER_TAKEN")

    second = ada.post("/made-invoices", json={**body, "number": "A-2", "status": "sent"}).json()
    page = ada.get("/made-invoices", params={"status": "sent", "sort": "-amount,number"}).json()
    assert page["data"] == [second]
    cursor = ada.get("/made-invoices?sort=amount&limit=1").json()["next_cursor"]
    assert ada.get("/made-invoices", params={"sort": "amount", "cursor": cursor}).json()["data"]

    path = f"/made-invoices/{invoice['id']}"
    tag = ada.get(path).headers["etag"]
    assert ada.get(path, headers={"If-None-Match": tag}).status_code == 304
    changed = ada.patch(path, json={"amount": "0.0001"}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json()["amount"]) == (200, "0.0001")
    assert ada.patch(path, json={}, headers={"If-Match": tag}).status_code == 412
    for member in BODY:
        refused = ada.post("/made-invoices", json={**body, member: {}})
        assert refused.status_code == 422
        assert [each["field"] for each in refused.json()["errors"]] == [f"body.{member}"]
    assert ada.delete(f"/made-invoices/{second['id']}").status_code == 204
    assert ada.get("/users/me/export").json()["made_invoices"] == [changed.json()]
