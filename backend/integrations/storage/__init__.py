"""Storage of files: a local folder, or a bucket of an S3 service."""


class StorageError(Exception):
    """A storage that cannot be used. `str()` has no address and no secret, so it may be logged."""
