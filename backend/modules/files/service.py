"""Files of other modules.

A service stores a file in two steps, so that no transaction waits for the storage:

    async with (
        files.uploaded(context, SYSTEM, content, filename=filename) as upload,
        context.database.transaction() as session,
    ):
        note.file_key = await files.add(context, session, SYSTEM, upload, owner_id=by.user_id)

The object comes first, and the row in the transaction. An object whose row was not committed is
deleted at the end of the block, or by the next sweep. A deleted row enqueues the deletion of its
object. The calling service checks the rights of its caller, and passes `SYSTEM`.
"""

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from io import BytesIO
from typing import BinaryIO
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import delete as delete_rows
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.core.context import Context, NotReadyError
from backend.core.errors import (
    AppError,
    NotFoundError,
    PayloadTooLargeError,
    ServiceUnavailableError,
    UnsupportedMediaTypeError,
)
from backend.core.http.public_paths import public_path
from backend.core.jobs import enqueue
from backend.core.principal import SYSTEM, System
from backend.core.settings import Settings
from backend.db.errors import DatabaseUnavailableError
from backend.db.query_runner import QueryRunner
from backend.integrations.storage import StorageError
from backend.modules.files.content_types import (
    SNIFFED_BYTES,
    clean_filename,
    content_type_of,
    disposition,
)
from backend.modules.files.images import IMAGES, check_image
from backend.modules.files.jobs import REMOVE
from backend.modules.files.links import PATH, is_key, is_signed, new_key, signed_path
from backend.modules.files.models import StoredFile
from backend.modules.files.queries import FILE
from backend.modules.files.schemas import File, Upload
from backend.modules.files.settings import FileSettings
from backend.modules.files.storage import open_storage, place_of, storage_of
from backend.modules.storage_quotas import service as quotas

# Of uploads, unless the caller passes another limit. Bodies in memory have a limit of their own.
MAX_BYTES = 10 * 1024 * 1024
LINK_TIME = timedelta(minutes=5)
# The longest time that S3 permits.
MAX_LINK_TIME = timedelta(days=7)
PUBLIC_PATH = PATH
log = structlog.get_logger()


@asynccontextmanager
async def uploaded(
    context: Context,
    by: System,
    content: BinaryIO,
    *,
    filename: str | None = None,
    max_bytes: int = MAX_BYTES,
    accepts: Collection[str] | None = None,
    is_public: bool = False,
) -> AsyncIterator[Upload]:
    """Store the content, for `add` in the block.

    Everybody who knows the address of a public file can download it. Its type comes from its bytes.
    `accepts` are the types that are accepted; images are then checked as well. Raise
    `PayloadTooLargeError`, `UnsupportedMediaTypeError`, `ImageUnreadableError`,
    `ImageTooLargeError`, or `ServiceUnavailableError` if the storage is not available.
    """
    by.must_be_system()
    upload = _inspected(content, filename, max_bytes, accepts, is_public=is_public)
    headers = {
        "Content-Type": upload.content_type,
        "Content-Disposition": disposition(upload.content_type, upload.filename),
    }
    storage = storage_of(context)
    with _reported():
        await storage.put(upload.key, content, headers)
    try:
        yield upload
    except AppError:
        # Some errors commit. After any other error, the result of the COMMIT may be unknown.
        # If this fails, the sweep deletes the object, and the response is that of the error.
        with suppress(StorageError, DatabaseUnavailableError, psycopg.Error):
            if await context.database.primary.first(FILE, key=upload.key) is None:
                await storage.delete(upload.key)
        raise


@contextmanager
def _reported() -> Iterator[None]:
    """Log that the storage is not available, and raise `ServiceUnavailableError`."""
    try:
        yield
    except StorageError as error:
        log.warning("storage_unavailable", reason=str(error))
        raise ServiceUnavailableError(
            "The storage of files is not available. Try again shortly."
        ) from None


def _inspected(
    content: BinaryIO,
    filename: str | None,
    max_bytes: int,
    accepts: Collection[str] | None,
    *,
    is_public: bool,
) -> Upload:
    size = content.seek(0, 2)
    content.seek(0)
    if size > max_bytes:
        raise PayloadTooLargeError(f"The file is larger than {max_bytes} bytes.")
    content_type = content_type_of(content.read(SNIFFED_BYTES))
    if accepts is not None:
        if content_type not in accepts:
            raise UnsupportedMediaTypeError(f"Send one of: {', '.join(sorted(accepts))}.")
        if content_type in IMAGES:
            content.seek(0)
            check_image(content_type, content.read())
    content.seek(0)
    return Upload(new_key(), content_type, size, clean_filename(filename), is_public)


async def add(
    context: Context, session: AsyncSession, by: System, upload: Upload, *, owner_id: UUID
) -> str:
    """Add the row of an upload; return its key, by which other modules refer to the file.

    The file counts towards the owner's quota. Raise `StorageQuotaExceededError`.
    """
    by.must_be_system()
    await quotas.update_bytes(context, session, SYSTEM, owner_id, upload.size)
    session.add(
        StoredFile(
            key=upload.key,
            owner_id=owner_id,
            content_type=upload.content_type,
            size=upload.size,
            filename=upload.filename,
            is_public=upload.is_public,
        )
    )
    await session.flush()
    return upload.key


async def delete(context: Context, session: AsyncSession, by: System, key: str) -> None:
    """Delete a file, if it exists: its row now, its content by a job after the commit."""
    by.must_be_system()
    statement = delete_rows(StoredFile).where(col(StoredFile.key) == key)
    returned = statement.returning(col(StoredFile.owner_id), col(StoredFile.size))
    row = (await (await session.connection()).execute(returned)).first()
    if row is not None:
        await quotas.update_bytes(context, session, SYSTEM, row.owner_id, -row.size)
        await enqueue(session, REMOVE, key=key)


async def signed_url(
    context: Context, by: System, key: str, *, expires_in: timedelta = LINK_TIME
) -> str:
    """Return a link to a private file, which expires. Whoever has it can download the file.

    A bucket is linked directly, unless STORAGE_URL says `presigned=false`.
    """
    by.must_be_system()
    if not timedelta(0) < expires_in <= MAX_LINK_TIME:
        raise ValueError("links last for seven days at most")
    storage = storage_of(context)
    if not storage.presigns:
        return public_path(signed_path(context, key, expires_in=expires_in))
    with _reported():
        return await storage.presigned_url(key, expires_in=expires_in)


async def find_file(
    context: Context,
    reader: QueryRunner,
    key: str,
    *,
    expires: str | None = None,
    signature: str | None = None,
) -> File:
    """Return a public file, or the file of a signed link.

    Raise the same `NotFoundError` for a file that does not exist, and for a link that is forged or
    has expired.
    """
    signed = expires is not None and signature is not None
    if not is_key(key) or (signed and not is_signed(context, key, expires or "", signature or "")):
        raise NotFoundError
    row = await reader.first(FILE, key=key)
    if row is None or not (row["is_public"] or signed):
        raise NotFoundError
    return File(**row)


async def read_file(context: Context, file: File, start: int, end: int) -> AsyncIterator[bytes]:
    """Return the bytes from `start` up to `end` of a file of `find_file`, as a stream.

    Raise `ServiceUnavailableError`, or `NotFoundError` if the file was deleted meanwhile.
    """
    with _reported():
        stream = await storage_of(context).open(file.key, start, end)
    if stream is None:
        log.error("file_content_missing", file=str(file.id))
        raise NotFoundError
    return stream


async def try_storage(settings: Settings, own: FileSettings) -> str:
    """Store and delete an object; return the name of the place. Raise `StorageError`."""
    storage, name = open_storage(settings.data_dir, own), new_key()
    await storage.put(name, BytesIO(b"A test by `backend doctor`."), {})
    await storage.delete(name)
    return str(place_of(settings.data_dir, own))


async def check_storage(context: Context) -> None:
    """The readiness check of the storage."""
    try:
        await storage_of(context).check()
    except StorageError as error:
        raise NotReadyError(str(error)) from None
