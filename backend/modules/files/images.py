"""Sizes of images, read from their structure without decoding a pixel.

A decoder would process hostile input in C, and a bomb of pixels is refused before it would be
decoded. Each reader returns width and height, and raises `ValueError` or `struct.error` if the
image is cut off or its structure is damaged.
"""

import re
import struct
import zlib
from collections.abc import Callable

from backend.modules.files.exceptions import ImageTooLargeError, ImageUnreadableError

MAX_PIXELS = 25_000_000
# Chunks or segments before the size is known. Real images have some dozens; each takes time.
MAX_PARTS = 10_000
_MARKER = re.compile(rb"\xff+")
# Frames of a JPEG: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
# Markers without a length: TEM, RST0 to RST7, SOI.
_BARE = {0x01, *range(0xD0, 0xD9)}


def check_image(content_type: str, content: bytes) -> None:
    """Raise an error if this PNG, JPEG or WebP is damaged, or has more than `MAX_PIXELS`."""
    try:
        width, height = _READERS[content_type](content)
    except (ValueError, struct.error, IndexError):
        raise ImageUnreadableError from None
    if not width or not height:
        raise ImageUnreadableError
    if width * height > MAX_PIXELS:
        raise ImageTooLargeError


def _png(content: bytes) -> tuple[int, int]:
    """Walk the chunks: each is a length, a name, data and a checksum (PNG 3rd edition, 5.3)."""
    position, size = 8, None
    for _ in range(MAX_PARTS):
        length, name = struct.unpack_from(">I4s", content, position)
        end = position + 8 + length
        (checksum,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(memoryview(content)[position + 4 : end]) != checksum:
            raise ValueError
        if size is None:
            if name != b"IHDR" or length != 13:
                raise ValueError
            size = struct.unpack_from(">II", content, position + 8)
        if name == b"IEND":
            return size[0], size[1]
        position = end + 4
    raise ValueError


def _jpeg(content: bytes) -> tuple[int, int]:
    """Walk the segments up to the first scan (ITU-T T.81, B.1.1); the end marker must follow."""
    position, size = 2, None
    for _ in range(MAX_PARTS):
        marker_start = _MARKER.match(content, position)
        if marker_start is None:
            raise ValueError
        position = marker_start.end() - 1  # behind the padding
        marker = content[position + 1]
        if marker in _BARE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", content, position + 2)
        if length < 2:
            raise ValueError
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, position + 5)
            size = (width, height)
        position += 2 + length
        if marker == _START_OF_SCAN:
            if size is None or content.find(b"\xff\xd9", position) < 0:
                raise ValueError
            return size
    raise ValueError


def _webp(content: bytes) -> tuple[int, int]:
    """Read the first chunk of a RIFF container (RFC 9649, 2.5 to 2.7); all of it must be there."""
    (length,) = struct.unpack_from("<I", content, 4)
    name, chunk = struct.unpack_from("<4sI", content, 12)
    if length + 8 > len(content) or chunk > length - 12:
        raise ValueError
    if name == b"VP8X":
        canvas = content[24:30]
        width, height = (int.from_bytes(canvas[at : at + 3], "little") + 1 for at in (0, 3))
        return width, height
    if name == b"VP8L" and content[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError


_READERS: dict[str, Callable[[bytes], tuple[int, int]]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/webp": _webp,
}
IMAGES = frozenset(_READERS)
