"""The client of a storage, over obstore."""

import asyncio
import atexit
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from backend.integrations.storage import StorageError
from backend.integrations.storage.storage_url import Bucket, Folder

# A call takes at most this long; a stream as long as its reader, but never waits longer for bytes.
CALL_SECONDS = 20.0
STALL_SECONDS = 10.0
EXIT_SECONDS = 0.1
CHUNK_BYTES = 256 * 1024
LIST_BATCH = 1000
PARTS = 2
_UNFINISHED = re.compile(r"(?P<name>[A-Za-z0-9_-]+)#[0-9]+")
_ALL = os.R_OK | os.W_OK | os.X_OK
_OPTIONS: Any = {
    "connect_timeout": timedelta(seconds=3),
    "read_timeout": timedelta(seconds=STALL_SECONDS),
    # It would include the time that a reader of a stream takes.
    "timeout": timedelta(days=1),
}
_RETRIES: Any = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1)},
}


class Storage:
    """Objects by name. Every method raises `StorageError` if the storage fails."""

    def __init__(self, place: Folder | Bucket) -> None:
        self._place = place
        self._folder = place.path if isinstance(place, Folder) else None
        self._store: LocalStore | S3Store | None = None

    @property
    def presigns(self) -> bool:
        """Whether `presigned_url` works."""
        return isinstance(self._place, Bucket) and self._place.presigned

    async def put(self, name: str, content: BinaryIO, headers: dict[str, str]) -> None:
        """Store an object, completely or not at all.

        `headers` are those of downloads by `presigned_url`; a folder does not keep them.
        """
        attributes: Any = headers if self._folder is None else None
        async with _limited():
            store = await self._opened_store()
            # Each part that is sent at once is 5 MiB in memory.
            await obstore.put_async(
                store, name, content, attributes=attributes, max_concurrency=PARTS
            )
            if self._folder is not None:
                await asyncio.to_thread(_flush, self._folder / name)

    async def open(self, name: str, start: int, end: int) -> AsyncIterator[bytes] | None:
        """Return the bytes from `start` up to `end` as a stream; None if there is no such object.

        The object is open when this returns. Errors of the stream are `StorageError` as well.
        """
        async with _limited():
            store = await self._opened_store()
            try:
                found = await obstore.get_async(store, name, options={"range": (start, end)})
            except FileNotFoundError:
                return None
        return _chunks(found.stream(min_chunk_size=CHUNK_BYTES))

    async def delete(self, name: str) -> None:
        """Delete an object, if it exists."""
        async with _limited():
            store = await self._opened_store()
            with suppress(FileNotFoundError):
                await obstore.delete_async(store, name)

    async def names(self, *, older_than: timedelta) -> AsyncIterator[list[str]]:
        """Yield the names of all objects of this age, in batches."""
        latest = datetime.now(UTC) - older_than
        async with _limited():
            store = await self._opened_store()
            batches = obstore.list(store, chunk_size=LIST_BATCH)
        while True:
            async with _limited():
                try:
                    batch = await anext(batches)
                except StopAsyncIteration:
                    return
            yield [item["path"] for item in batch if item["last_modified"] < latest]

    async def remove_unfinished(
        self, is_ours: Callable[[str], bool], *, older_than: timedelta
    ) -> None:
        """Remove what interrupted calls of `put` have left in a folder, for names of `is_ours`.

        A bucket does this by a rule of its own ("abort incomplete multipart uploads").
        """
        if self._folder is not None:
            async with _limited():
                await asyncio.to_thread(_remove_unfinished, self._folder, is_ours, older_than)

    async def presigned_url(self, name: str, *, expires_in: timedelta) -> str:
        """Return a URL of the S3 service that returns the object for this time."""
        async with _limited():
            store = await self._opened_store()
            assert isinstance(store, S3Store)
            return await obstore.sign_async(store, "GET", name, expires_in)

    async def check(self) -> None:
        """Raise `StorageError` unless objects can be listed, and a folder can be written."""
        async with _limited():
            store = await self._opened_store()
            if self._folder is not None and not os.access(
                self._folder, os.R_OK | os.W_OK | os.X_OK
            ):
                raise StorageError("The folder of files is missing, or not writable.")
            # A missing bucket has no objects, but listing them is an error.
            await anext(obstore.list(store, prefix="none", chunk_size=1), None)

    async def _opened_store(self) -> LocalStore | S3Store:
        if self._store is None:
            self._store = await asyncio.to_thread(_open, self._place)
        return self._store


def _open(place: Folder | Bucket) -> LocalStore | S3Store:
    _wait_for_threads_at_exit()
    if isinstance(place, Folder):
        place.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return LocalStore(place.path)
    given = {
        "region": place.region,
        "endpoint": place.endpoint,
        "access_key_id": place.access_key_id,
        "secret_access_key": place.secret_access_key,
    }
    config: Any = {name: value for name, value in given.items() if value is not None}
    options: Any = {**_OPTIONS, "allow_http": (place.endpoint or "").startswith("http://")}
    return S3Store(
        place.name,
        prefix=place.prefix or None,
        client_options=options,
        retry_config=_RETRIES,
        **config,
    )


@cache
def _wait_for_threads_at_exit() -> None:
    """Let the threads of obstore finish before the interpreter is finalized.

    They hold Python objects for a moment after a call has returned. If they release these during
    the finalization, Python before 3.14 aborts the process (exit code 134). obstore offers no way
    to join them.
    """
    atexit.register(time.sleep, EXIT_SECONDS)


def _flush(path: Path) -> None:
    """Wait until a file and its name are on the disk: its row is, once it is committed."""
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_unfinished(folder: Path, is_ours: Callable[[str], bool], older_than: timedelta) -> None:
    latest = (datetime.now(UTC) - older_than).timestamp()
    # obstore writes to a file `name#1` and renames it; it lists no such files.
    for path in folder.glob("*#*"):
        found = _UNFINISHED.fullmatch(path.name)
        if found and is_ours(found["name"]) and path.stat().st_mtime < latest:
            path.unlink(missing_ok=True)


@asynccontextmanager
async def _limited() -> AsyncIterator[None]:
    """Limit the block to `CALL_SECONDS`, and translate its errors to `StorageError`."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            yield
    except (BaseError, OSError, ValueError) as error:
        # `from None`: the library's text contains addresses and names.
        reason = type(error).__name__
        raise StorageError(f"The storage of files cannot be used ({reason}).") from None


async def _chunks(stream: Any) -> AsyncIterator[bytes]:
    while True:
        async with _limited():
            try:
                chunk = await anext(stream)
            except StopAsyncIteration:
                return
        yield chunk
