"""Addresses of storages, and what is left of interrupted writes."""

import asyncio
import io
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.integrations.storage.client import Storage
from backend.integrations.storage.storage_url import Bucket, Folder, parse_storage_url
from backend.modules.files.settings import FileSettings
from tests.commands import backend, output_of
from tests.storages import SECRET, S3Server


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("file:///srv/a%20b", Folder(Path("/srv/a b"))),
        ("file://localhost/srv", Folder(Path("/srv"))),
        ("s3://bucket", Bucket("bucket")),
        (
            "s3://key:a%2Fb@my.bucket/a/b/?region=eu-central-1",
            Bucket(
                "my.bucket",
                "a/b",
                "eu-central-1",
                access_key_id="key",
                secret_access_key="a/b",
            ),
        ),
        (
            "s3://bucket?endpoint=http://minio:9000/&presigned=false",
            Bucket("bucket", endpoint="http://minio:9000", presigned=False),
        ),
    ],
)
def test_addresses(url: str, place: Folder | Bucket) -> None:
    assert parse_storage_url(url) == place
    assert FileSettings(_env_file=None, storage_url=url).storage_url is not None  # type: ignore[arg-type]  # as from the environment
    assert "a/b" not in repr(place).replace("prefix='a/b'", "")


@pytest.mark.parametrize(
    "url",
    [
        "/srv",
        "file:///",
        "file://host/srv",
        "file:///srv?a=b",
        "gs://bucket",
        "s3://",
        "s3://UPPER",
        "s3://top@bucket",
        "s3://top:@bucket",
        "s3://top:secret/x@bucket",
        "s3://bucket?secret=top",
        "s3://bucket?presigned=maybe",
        "s3://bucket?endpoint=minio:9000",
        "s3://bucket?endpoint=https://top:secret@host",
        "s3://bucket?endpoint=https://host:port",
        "s3://bucket#x",
    ],
)
def test_other_addresses_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        FileSettings(_env_file=None, storage_url=url)  # type: ignore[arg-type]  # as from the environment
    (error,) = refused.value.errors(include_input=False)
    assert "top" not in error["msg"]


def make_unfinished(folder: Path) -> tuple[Path, Path]:
    old, new = folder / "key#1", folder / "key#2"
    for each in (old, new):
        each.write_bytes(b"x")
    return old, new


def test_unfinished_files_are_removed_after_a_while(tmp_path: Path) -> None:
    storage = Storage(Folder(tmp_path))
    asyncio.run(storage.put("whole", io.BytesIO(b"x"), {}))
    old, new = make_unfinished(tmp_path)
    foreign = tmp_path / "notes#1"
    foreign.touch()
    for each in (old, foreign):
        os.utime(each, (time.time() - 7200,) * 2)
    asyncio.run(storage.remove_unfinished("key".__eq__, older_than=timedelta(hours=1)))
    assert {each.name for each in tmp_path.iterdir()} == {"whole", new.name, foreign.name}
    assert asyncio.run(listed(storage)) == ["whole"]


async def listed(storage: Storage) -> list[str]:
    batches = [names async for names in storage.names(older_than=-timedelta(1))]
    return [name for names in batches for name in names]


@pytest.mark.slow
def test_the_doctor_writes_to_the_storage(tmp_path: Path, shared_s3: S3Server) -> None:
    options: dict[str, Any] = {"folder": tmp_path, "ENVIRONMENT": "test"}
    said = output_of("doctor", "--port", "0", **options)
    assert f"✓ Files are stored in the folder {tmp_path}" in said
    said = output_of("doctor", "--port", "0", **options, STORAGE_URL=shared_s3.url("doctor"))
    assert "✓ Files are stored in the bucket a-bucket, which is writable" in said
    wrong = shared_s3.url("doctor").replace("@a-bucket", "@no-bucket")
    done = backend("doctor", "--port", "0", **options, STORAGE_URL=wrong)
    said = done.stdout
    assert done.returncode == 1
    assert "✗ The storage of files cannot be used (FileNotFoundError). Check STORAGE_URL" in said
    assert SECRET not in said + done.stderr


EXITS = """
import asyncio, os, sys
from backend.integrations.storage import StorageError
from backend.integrations.storage.client import Storage
from backend.integrations.storage.storage_url import parse_storage_url

async def check():
    try:
        await Storage(parse_storage_url(sys.argv[1])).check()
    except StorageError:
        return
    raise AssertionError("The bucket exists.")

for _ in range(25):
    if not (pid := os.fork()):
        asyncio.run(check())
        sys.exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_a_process_that_ends_right_after_a_failed_call_keeps_its_exit_code(
    shared_s3: S3Server,
) -> None:
    """Without the wait at exit, one process in five is aborted."""
    wrong = shared_s3.url("exits").replace("@a-bucket", "@no-bucket")
    done = subprocess.run(
        [sys.executable, "-c", EXITS, wrong],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (["3"] * 25, "")
