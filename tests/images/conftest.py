"""Pictures drawn on the spot, and a file that is only a huge header."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def corners() -> Image.Image:
    """60 x 40: red and green above, blue and black below; every corner tells which one it is."""
    image = Image.new("RGB", (60, 40))
    image.paste((255, 0, 0), (0, 0, 30, 20))
    image.paste((0, 255, 0), (30, 0, 60, 20))
    image.paste((0, 0, 255), (0, 20, 30, 40))
    return image


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(width: int, height: int, *extra: bytes) -> bytes:
    """A PNG with one row of red pixels, whatever size its header claims."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"\xff\0\0" * min(width, 100))
    chunks = [
        png_chunk(b"IHDR", header),
        *extra,
        png_chunk(b"IDAT", pixels),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture
def giant_png(tmp_path: Path) -> Callable[[int, int], Path]:
    """A PNG of some dozen bytes that claims any size."""

    def write(width: int, height: int) -> Path:
        path = tmp_path / "giant.png"
        path.write_bytes(png(width, height))
        return path

    return write


@pytest.fixture
def warning_png(tmp_path: Path) -> Path:
    """A sound picture that Pillow warns about: it says that it is animated, with 0 frames."""
    path = tmp_path / "warning.png"
    path.write_bytes(png(3, 1, png_chunk(b"acTL", struct.pack(">II", 0, 0))))
    return path
