"""The storage of an application."""

from pathlib import Path
from typing import TYPE_CHECKING

from backend.core.context import Context
from backend.integrations.storage.storage_url import Bucket, Folder, parse_storage_url
from backend.modules.files.settings import FileSettings

if TYPE_CHECKING:
    from backend.integrations.storage.client import Storage


def storage_of(context: Context) -> "Storage":
    return context.get_or_create(_storage)


def _storage(context: Context) -> "Storage":
    return open_storage(context.settings.data_dir, context.settings_of(FileSettings))


def place_of(data_dir: Path, settings: FileSettings) -> Folder | Bucket:
    if settings.storage_url is None:
        return Folder(data_dir.absolute() / "files")
    return parse_storage_url(settings.storage_url.get_secret_value())


def open_storage(data_dir: Path, settings: FileSettings) -> "Storage":
    # The library takes 5 MB of memory, so only processes that need it load it.
    from backend.integrations.storage.client import Storage  # noqa: PLC0415  # see above

    return Storage(place_of(data_dir, settings))
