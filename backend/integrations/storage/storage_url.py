"""Parsing of `STORAGE_URL`. Separate from the client, which is loaded on first use only."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

FORM = (
    "must look like file:///var/lib/trellis/storage or s3://bucket/prefix?region=eu-central-1, "
    "with the options region, endpoint and presigned"
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OPTIONS = {"region", "endpoint", "presigned"}
_YES_NO = {"true": True, "false": False}


@dataclass(frozen=True)
class Folder:
    """A local folder. It is created on first use."""

    path: Path

    def __str__(self) -> str:
        return f"the folder {self.path}"


@dataclass(frozen=True)
class Bucket:
    """A bucket, and the prefix of all names in it.

    endpoint   `https://host:port` of another service than AWS
    presigned  whether clients can reach the service, so that links may lead there

    Without an access key, the AWS client's own sources apply: environment variables, web identity,
    and the metadata of containers and machines.
    """

    name: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    presigned: bool = True
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"the bucket {self.name}"


def parse_storage_url(url: str) -> Folder | Bucket:
    """Parse `file://` or `s3://`; raise a `ValueError` whose text does not contain the URL."""
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True))
    except ValueError:
        raise ValueError(FORM) from None
    if parts.fragment:
        raise ValueError(FORM)
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
        if parts.netloc not in ("", "localhost") or options or path == Path("/"):
            raise ValueError(FORM)
        return Folder(path)
    if parts.scheme != "s3":
        raise ValueError(FORM)
    key, separator, rest = parts.netloc.rpartition("@")
    access_key, colon, secret = key.partition(":")
    if not _BUCKET.fullmatch(rest) or (separator and not (access_key and colon and secret)):
        raise ValueError(FORM)
    if options.keys() - _OPTIONS or options.get("presigned", "true") not in _YES_NO:
        raise ValueError(FORM)
    return Bucket(
        name=rest,
        prefix=unquote(parts.path).strip("/"),
        region=options.get("region"),
        endpoint=_endpoint(options.get("endpoint")),
        presigned=_YES_NO[options.get("presigned", "true")],
        access_key_id=unquote(access_key) or None,
        secret_access_key=unquote(secret) or None,
    )


def _endpoint(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # reading it is the check
    except ValueError:
        raise ValueError(FORM) from None
    unusual = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or unusual:
        raise ValueError(FORM)
    return text.rstrip("/")
