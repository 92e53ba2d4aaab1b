"""Small images of the three accepted types, with any size in their headers."""

import struct
import zlib


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int = 2, height: int = 2, *, padding: int = 0) -> bytes:
    """Return a PNG, with a text chunk of `padding` bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0\0\0" * 2)
    text = _chunk(b"tEXt", b"x" * padding) if padding else b""
    chunks = _chunk(b"IHDR", header) + text + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg(width: int = 2, height: int = 2) -> bytes:
    """Return the structure of a progressive JPEG, whose EXIF contains another JPEG."""
    thumbnail = b"\xff\xd8\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00\xff\xd9"
    exif = b"Exif\0\0" + thumbnail
    segments = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    segments += b"\xff\xff\xc2" + struct.pack(">H", len(frame) + 2) + frame
    scan = b"\x01\x01\x00\x00\x3f\x00"
    segments += b"\xff\xda" + struct.pack(">H", len(scan) + 2) + scan
    return b"\xff\xd8" + segments + b"\x12\x34\xff\x00\x56" + b"\xff\xd9"


def webp(width: int = 2, height: int = 2, *, form: bytes = b"VP8X") -> bytes:
    if form == b"VP8X":
        data = b"\0" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif form == b"VP8L":
        data = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0"
    else:
        data = b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    chunk = form + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk
