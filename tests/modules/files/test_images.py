"""Sizes of images, and images that are damaged."""

import struct
import zlib
from collections.abc import Callable
from functools import partial

import pytest

from backend.core.errors import AppError
from backend.modules.files.content_types import content_type_of
from backend.modules.files.images import check_image
from tests.images import jpeg, png, webp

MAKERS: dict[str, Callable[[int, int], bytes]] = {
    "png": png,
    "jpeg": jpeg,
    "extended webp": webp,
    "lossless webp": partial(webp, form=b"VP8L"),
    "lossy webp": partial(webp, form=b"VP8 "),
}


def outcome(content: bytes) -> str | None:
    try:
        check_image(content_type_of(content), content)
    except AppError as error:
        return error.code
    return None


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_pixels_are_counted(make: Callable[[int, int], bytes]) -> None:
    assert outcome(make(2, 3)) is None
    assert outcome(make(5000, 5000)) is None
    assert outcome(make(5001, 5000)) == "IMAGE_TOO_LARGE"
    assert outcome(make(16383, 16383)) == "IMAGE_TOO_LARGE"
    if make in (png, jpeg):
        assert outcome(make(0, 3)) == "IMAGE_UNREADABLE"


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_every_cut_is_noticed(make: Callable[[int, int], bytes]) -> None:
    whole = make(2, 3)
    found = {outcome(whole[:length]) for length in range(12, len(whole))}
    assert found == {"IMAGE_UNREADABLE"}


def test_images_of_very_many_parts_are_refused() -> None:
    chunk = struct.pack(">I4s", 0, b"teXt") + struct.pack(">I", zlib.crc32(b"teXt"))
    head, end = png()[:-12], png()[-12:]
    assert outcome(head + 9_000 * chunk + end) is None
    assert outcome(head + 100_000 * chunk + end) == "IMAGE_UNREADABLE"
    start, rest = jpeg()[:2], jpeg()[2:]
    assert outcome(start + 1_000_000 * b"\xff" + rest) is None
    assert outcome(start + 100_000 * b"\xff\x01" + rest) == "IMAGE_UNREADABLE"


def test_a_changed_byte_of_a_png_is_noticed() -> None:
    whole = png()
    for position in range(8, len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        assert outcome(bytes(changed)) == "IMAGE_UNREADABLE", position


def test_damaged_structures_never_fail_otherwise() -> None:
    for make in MAKERS.values():
        whole = make(2, 3)
        for position in range(12, len(whole)):
            for value in (0, 1, 0x7F, 0xFF):
                changed = bytearray(whole)
                changed[position] = value
                assert outcome(bytes(changed)) in (None, "IMAGE_UNREADABLE", "IMAGE_TOO_LARGE")


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"<html><script>alert(1)</script>", "text/plain; charset=utf-8"),
        (
            b"<svg onload='alert(1)' xmlns='http://www.w3.org/2000/svg'/>",
            "text/plain; charset=utf-8",
        ),
        (b"", "text/plain; charset=utf-8"),
        ("ä".encode() * 2048, "text/plain; charset=utf-8"),
        (b"x" + "ä".encode() * 2047 + b"\xc3", "text/plain; charset=utf-8"),
        (b"\xc3\xc3", "application/octet-stream"),
        (b"a\0b", "application/octet-stream"),
        (b"%PDF-1.7", "application/pdf"),
        (b"GIF89a<script>", "image/gif"),
    ],
)
def test_types_come_from_the_bytes(head: bytes, content_type: str) -> None:
    assert content_type_of(head) == content_type
