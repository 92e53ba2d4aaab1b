"""A migration that waits for a lock gives way, says for whom it waits, and tries again."""

import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest

from backend.cli import lock_waits
from backend.cli.schema import move, position
from backend.cli.terminal import CommandError
from backend.db.schema import migrations
from backend.db.schema.migrations import FOLDER, newest_revision

HEAD = newest_revision()
MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "{head}"


def upgrade():
    {upgrade}


def downgrade(): ...
"""
ADD = 'op.add_column("items", sa.Column("x", sa.Text()))'
INDEX = """with op.get_context().autocommit_block():
        op.drop_index("ix_x", "items", if_exists=True, postgresql_concurrently=True)
        op.create_index("ix_x", "items", ["title"], postgresql_concurrently=True)"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    copy = tmp_path / "migrations"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrations, "FOLDER", copy)
    monkeypatch.setattr(migrations, "_WAIT", "400ms")
    monkeypatch.setattr(lock_waits, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(lock_waits, "ATTEMPTS", 2)

    def write(upgrade: str) -> None:
        text = MIGRATION.format(head=HEAD, upgrade=upgrade)
        (copy / "versions" / "9000_x.py").write_text(text)

    return write


def test_who_holds_the_lock_is_told_and_the_migration_can_run_again(
    own_database_url: str, written: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    written(ADD)
    with psycopg.connect(own_database_url) as other:
        other.execute("SELECT FROM items")
        pid = other.info.backend_pid
        with pytest.raises(CommandError) as refused:
            move(own_database_url, "head")
        assert re.fullmatch(
            r"The migration did not get a lock on items in 2 attempts, because pid "
            rf"{pid} has had a transaction open for \d s: wait for its end, or end it with "
            rf"`SELECT pg_terminate_backend\({pid}\)`, and run this again\.",
            str(refused.value),
        )
        assert re.fullmatch(
            rf"Waiting for a lock on items: attempt 1 of 2 failed, because pid {pid} has had a "
            r"transaction open for \d s; the next one is in 0 s\.\n",
            capsys.readouterr().out,
        )
        assert position(own_database_url) == HEAD
    assert move(own_database_url, "head") == "9000"


def test_the_next_attempt_succeeds_when_the_lock_is_free(
    own_database_url: str,
    written: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock_waits, "ATTEMPTS", 100)
    written(ADD)
    thread = Thread(target=move, args=(own_database_url, "head"))
    with psycopg.connect(own_database_url) as other:
        other.execute("SELECT FROM items")
        thread.start()
        said = ""
        while "attempt 2 of 100" not in said:
            said += capsys.readouterr().out
            # Requests are served between the attempts.
            with psycopg.connect(own_database_url) as request:
                request.execute("SELECT FROM items")
    thread.join()
    assert position(own_database_url) == "9000"


def test_a_concurrent_index_outlasts_a_long_transaction(
    own_database_url: str,
    written: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is in nobody's way while it waits, and a failure would make it start again."""
    monkeypatch.setattr(migrations, "_WAIT", "50ms")
    monkeypatch.setattr(lock_waits, "REPORT_AFTER", 0.3)
    written(INDEX)
    thread = Thread(target=move, args=(own_database_url, "head"))
    with psycopg.connect(own_database_url) as other:
        other.execute("UPDATE items SET title = 'x'")
        thread.start()
        said = ""
        while "Waiting for a lock, because pid" not in said:
            said += capsys.readouterr().out
    thread.join()
    assert position(own_database_url) == "9000"
    assert "attempt" not in said


@pytest.mark.slow
def test_a_server_that_does_not_answer_the_observer_ends_with_the_migration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lock_waits, "CONNECT_SECONDS", 2)
    ended = Event()
    ended.set()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://trellis@127.0.0.1:{silent.getsockname()[1]}/trellis"
        wait = lock_waits._Wait()
        watch = Thread(target=lock_waits._watch, args=(url, 1, wait, ended), daemon=True)
        watch.start()
        watch.join(10)
        assert not watch.is_alive()
