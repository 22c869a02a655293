"""Small files that become large pictures: refused or decoded, but never at any price."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from clipsearch.clip.preprocess import Preprocess
from clipsearch.images import MAX_PIXELS
from clipsearch.indexer.frames import Found, Setup
from clipsearch.indexer.limits import Limits
from clipsearch.indexer.workers import Workers
from clipsearch.settings import Settings
from tests.indexer.test_workers import children

PX = 224
SIDE = 9459  # its square is the largest that is let through
LIBRARIES_MB = 64  # of the memory in use, what is not the worker's own but Python's and Pillow's

Save = Callable[[Path], object]


def read(path: Path, memory_mb: int = Settings().decode_memory) -> tuple[Found, int]:
    """What a worker finds, and the most memory in MiB that it ever used."""
    limits = Limits(memory_mb, cpu_seconds=60, wall_seconds=120)
    shrink = Preprocess(PX).resize_and_crop
    setup = Setup(shrink, PX, MAX_PIXELS, memory_mb, limits.cpu_seconds, limits.file_bytes)
    with Workers(1, limits) as workers:
        workers.begin(setup)
        found = workers.read(path).result(300)
        (pid,) = children()
        status = Path(f"/proc/{pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak
    return found, int(peak.group(1)) >> 10


def png(path: Path, width: int, height: int, depth: int, colour: int) -> None:
    """A black picture, written row by row."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    row = bytes(1 + (width * depth * {0: 1, 2: 3, 6: 4}[colour] + 7) // 8)
    packer = zlib.compressobj(1)
    content = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    chunks = [(b"IHDR", header), (b"IDAT", content), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    )


def test_the_side_is_the_largest() -> None:
    assert SIDE**2 <= MAX_PIXELS < (SIDE + 1) ** 2


@pytest.mark.parametrize(("depth", "colour"), [(1, 0), (8, 2), (8, 6)])
def test_the_largest_that_is_let_through_stays_below_the_limit(
    tmp_path: Path, depth: int, colour: int
) -> None:
    png(tmp_path / "a.png", SIDE, SIDE, depth, colour)
    assert (tmp_path / "a.png").stat().st_size < 2_000_000
    found, peak = read(tmp_path / "a.png")
    assert found.reason is None and found.width == SIDE
    assert peak < Settings().decode_memory + LIBRARIES_MB


def test_the_largest_may_even_be_transparent_and_lie_on_its_side(tmp_path: Path) -> None:
    png(tmp_path / "a.png", SIDE, SIDE - 1, 8, 6)
    content = bytearray((tmp_path / "a.png").read_bytes())
    exif = b"eXIf" + b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    content[33:33] = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    (tmp_path / "a.png").write_bytes(content)
    found, peak = read(tmp_path / "a.png")
    assert (found.width, found.height, found.reason) == (SIDE - 1, SIDE, None)
    assert peak < Settings().decode_memory + LIBRARIES_MB


def test_where_less_is_allowed_less_is_used_and_the_reason_says_so(tmp_path: Path) -> None:
    png(tmp_path / "a.png", SIDE, SIDE, 8, 6)
    found, peak = read(tmp_path / "a.png", memory_mb=200)
    assert found.reason and found.reason.startswith("a.png needs more than 200 MB to decode")
    assert found.content_hash and peak < 200 + LIBRARIES_MB


def giant_png(path: Path) -> None:
    png(path, 60_000, 1, 8, 2)
    content = bytearray(path.read_bytes())
    content[20:24] = struct.pack(">I", 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def giant_gif(path: Path) -> None:
    Image.new("P", (1, 1)).save(path, "GIF")
    content = bytearray(path.read_bytes())
    frame = content.index(b",\0\0\0\0")
    content[6:10] = content[frame + 5 : frame + 9] = b"\xff" * 4
    path.write_bytes(content)


def giant_webp(path: Path) -> None:
    Image.new("RGB", (1, 1)).save(path, "WEBP", lossless=True)
    content = bytearray(path.read_bytes())
    content[21:25] = (0x0FFF_FFFF).to_bytes(4, "little")  # width and height, less 1, 14 bits each
    path.write_bytes(content)


GIANTS: dict[str, Save] = {
    "13376 bilevel": lambda path: png(path, 13_376, 13_376, 1, 0),
    "60000": giant_png,
    "gif": giant_gif,
    "webp": giant_webp,
    "tiff": lambda path: Image.new("1", (30_000, 30_000)).save(path, "TIFF", compression="group4"),
    "tiff lzw": lambda path: Image.new("L", (9500, 9500)).save(
        path, "TIFF", compression="tiff_lzw"
    ),
    "jpeg 2000": lambda path: Image.new("1", (9500, 9500)).convert("L").save(path, "JPEG2000"),
}


@pytest.mark.parametrize("kind", GIANTS)
def test_giants_of_every_format_are_refused_before_they_cost_anything(
    tmp_path: Path, kind: str
) -> None:
    GIANTS[kind](tmp_path / "giant.png")
    found, peak = read(tmp_path / "giant.png", memory_mb=512)
    assert found.reason and "pixels, more than the limit of 89,478,485" in found.reason
    assert found.width and found.height and found.width * found.height > MAX_PIXELS
    assert found.content_hash and peak < 128


def test_a_telephones_200_megapixels_are_reduced_and_no_bomb(tmp_path: Path) -> None:
    Image.new("L", (16_320, 12_240), 90).save(tmp_path / "a.jpg", quality=20)
    found, peak = read(tmp_path / "a.jpg", memory_mb=256)
    assert (found.width, found.height, found.reason) == (16_320, 12_240, None)
    assert peak < 128


@pytest.mark.parametrize("size", [(1, 30_000), (30_000, 1), (4_000_000, 20), (20, 4_000_000)])
def test_a_picture_all_length_does_not_swell_when_it_is_resized(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """1 x 30,000 with its short side brought to 224 would be 1.5 thousand million pixels."""
    png(tmp_path / "a.png", *size, 8, 2)
    found, peak = read(tmp_path / "a.png", memory_mb=512)
    assert found.reason is None and found.pixels is not None
    assert peak < 512
