"""The types of contents, recognized by their first bytes; names and headers do not count.

Types that a browser could run as a script (HTML, SVG, XML) are plain text here.
"""

import re
from urllib.parse import quote

MAX_FILENAME = 255

# The first bytes, and for containers the bytes at offset 8.
_SIGNATURES: tuple[tuple[bytes, bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", b"", "image/png"),
    (b"\xff\xd8\xff", b"", "image/jpeg"),
    (b"RIFF", b"WEBP", "image/webp"),
    (b"GIF87a", b"", "image/gif"),
    (b"GIF89a", b"", "image/gif"),
    (b"%PDF-", b"", "application/pdf"),
    (b"PK\x03\x04", b"", "application/zip"),
    (b"PK\x05\x06", b"", "application/zip"),
    (b"\x1f\x8b", b"", "application/gzip"),
    (b"OggS", b"", "audio/ogg"),
    (b"ID3", b"", "audio/mpeg"),
    (b"RIFF", b"WAVE", "audio/wav"),
)
TEXT, BYTES = "text/plain; charset=utf-8", "application/octet-stream"
SNIFFED_BYTES = 4096
# A browser shows these without running anything.
SHOWN = {"image/png", "image/jpeg", "image/webp", "image/gif"}
_TEXT_CONTROLS = set(b"\t\n\f\r\x1b")


def content_type_of(head: bytes) -> str:
    """Return the type of a content that begins with `head`, its first `SNIFFED_BYTES` bytes."""
    for first, at_eight, name in _SIGNATURES:
        if head.startswith(first) and head[8:].startswith(at_eight):
            return name
    return TEXT if _is_text(head) else BYTES


def _is_text(head: bytes) -> bool:
    if any(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may continue after the end.
        return len(head) == SNIFFED_BYTES and error.start > len(head) - 4
    return True


def clean_filename(filename: str | None) -> str | None:
    """Return the last part of a path without control characters, or None if nothing is left."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if char.isprintable()).strip(". ")[-MAX_FILENAME:]
    return name or None


def disposition(content_type: str, filename: str | None) -> str:
    """Return Content-Disposition (RFC 6266): only safe images may be shown in a page.

    Old clients read the first name, in ASCII; all others the second (RFC 8187).
    """
    kind = "inline" if content_type in SHOWN else "attachment"
    if filename is None:
        return kind
    plain = re.sub(r'[^ !#-\[\]-~]|["%\\]', "_", filename)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
