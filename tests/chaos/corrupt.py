"""Files that are hard on a decoder, of many kinds, each made anew from a seed.

A kind says what may become of it: it is certainly no picture ("bad"), it certainly is one that
can be shown ("good"), or that depends on where chance has struck ("either").
"""

from __future__ import annotations

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from PIL import Image

Make = Callable[[random.Random], bytes]
Fate = Literal["bad", "good", "either"]


@dataclass(frozen=True)
class Kind:
    name: str
    make: Make
    fate: Fate
    extension: str = ".jpg"


def noise(
    chance: random.Random, mode: str = "RGB", size: tuple[int, int] = (64, 48)
) -> Image.Image:
    n_bytes = len(Image.new(mode, (1, 1)).tobytes())  # of a pixel
    return Image.frombytes(mode, size, chance.randbytes(size[0] * size[1] * n_bytes))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


# ---- no pictures at all


def plain(beginning: bytes) -> Make:
    return lambda chance: beginning + chance.randbytes(chance.randrange(200, 2000))


def zipped(chance: random.Random) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.jpg", encoded(noise(chance), "JPEG"))
    return content.getvalue()


# ---- pictures that something has happened to


def cut(kind: str, **options: Any) -> Make:
    def make(chance: random.Random) -> bytes:
        whole = encoded(noise(chance), kind, **options)
        # The last bytes may be padding or an end mark that readers do without.
        return whole[: chance.randrange(20, len(whole) - 100)]

    return make


def flipped(kind: str) -> Make:
    def make(chance: random.Random) -> bytes:
        content = bytearray(encoded(noise(chance), kind))
        for _ in range(chance.choice((1, 1, 8))):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        return bytes(content)

    return make


def spliced(first: str, second: str) -> Make:
    def make(chance: random.Random) -> bytes:
        one, other = encoded(noise(chance), first), encoded(noise(chance), second)
        return one[: len(one) // 2] + other[len(other) // 2 :]

    return make


def jpeg_of_giant_size(chance: random.Random) -> bytes:
    content = bytearray(encoded(noise(chance), "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = b"\xff\xdc\xff\xdc"
    return bytes(content)


def broken_exif(chance: random.Random) -> bytes:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + chance.randbytes(60)
    return encoded(noise(chance), "JPEG", exif=exif)


def broken_profile(chance: random.Random) -> bytes:
    return encoded(noise(chance), "JPEG", icc_profile=chance.randbytes(300))


def broken_later_frame(chance: random.Random) -> bytes:
    frames = [noise(chance, "L") for _ in range(3)]
    whole = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    return whole[: len(whole) * 3 // 4] + chance.randbytes(50)


# ---- small files that claim, or hold, far more than they are


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (png_chunk(b"IHDR", head), *chunks, png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


@cache
def zeros(n_bytes: int) -> bytes:
    """So many zeros, deflated."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(n_bytes >> 20)]
    return b"".join(parts) + packer.compress(bytes(n_bytes & 0xFFFFF)) + packer.flush()


def giant_png(chance: random.Random) -> bytes:
    side = chance.choice((60_000, 2**31 - 1))
    return png(side, side, png_chunk(b"IDAT", zlib.compress(chance.randbytes(50))))


def bomb_png(chance: random.Random) -> bytes:
    """Whole and right, 13,376² pixels of one bit: below twice Pillow's limit, 97 kB."""
    pixels = png_chunk(b"IDAT", zeros((13_376 // 8 + 1) * 13_376))
    return png(13_376, 13_376, pixels, depth=1) + chance.randbytes(8)


def text_bomb(name: bytes, keyword: bytes) -> Make:
    """A compressed chunk beside the pixels that unpacks to 200 MB."""

    def make(chance: random.Random) -> bytes:
        bomb = png_chunk(name, keyword + b"\0\0" + zeros(200 << 20))
        row = b"\0" + chance.randbytes(8)
        return png(8, 8, bomb, png_chunk(b"IDAT", zlib.compress(row * 8)))

    return make


def giant_gif(chance: random.Random) -> bytes:
    screen = b"GIF89a\xff\xff\xff\xff\x80\0\0" + chance.randbytes(6)  # a palette of two
    frame = b",\0\0\0\0\xff\xff\xff\xff\0" + b"\2\4" + chance.randbytes(4) + b"\0;"
    return screen + frame


def giant_webp(chance: random.Random) -> bytes:
    size = (16_383 - 1).to_bytes(3, "little")
    content = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size + size
    content += b"VP8L" + struct.pack("<I", 30) + b"\x2f" + chance.randbytes(29)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def giant_bmp(chance: random.Random) -> bytes:
    content = bytearray(encoded(noise(chance), "BMP"))
    content[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(content)


def tiff(entries: list[tuple[int, int, int, int]], next_ifd: int, rest: bytes = b"") -> bytes:
    """A TIFF of one directory at byte 8; entries are (tag, type, count, value)."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    directory = struct.pack("<H", len(entries)) + packed + struct.pack("<I", next_ifd)
    return b"II*\0\x08\0\0\0" + directory + rest


def gray_tiff(side: int, next_ifd: int, strip: bytes, compression: int = 1) -> bytes:
    n_entries = 9
    offset = 8 + 2 + 12 * n_entries + 4
    entries = [
        *((256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, compression)),
        *((262, 3, 1, 1), (273, 4, 1, offset), (277, 3, 1, 1), (278, 4, 1, side)),
        (279, 4, 1, len(strip)),
    ]
    return tiff(entries, next_ifd, strip)


def giant_tiff(chance: random.Random) -> bytes:
    return gray_tiff(60_000, 0, chance.randbytes(100))


def deflate_tiff(chance: random.Random) -> bytes:
    """13,000² pixels in one strip of 160 kB."""
    return gray_tiff(13_000, 0, zeros(13_000 * 13_000), compression=8) + chance.randbytes(8)


def endless_tiff(chance: random.Random) -> bytes:
    return gray_tiff(8, 8, chance.randbytes(64))  # the next directory is this one


def many_directories(chance: random.Random) -> bytes:
    """Ten thousand empty directories, each pointing to the next."""
    content = gray_tiff(8, 8 + 2 + 12 * 9 + 4 + 64, chance.randbytes(64))
    start, n = len(content), 10_000
    ends = (start + 6 * (i + 1) if i < n - 1 else 0 for i in range(n))
    return content + b"".join(struct.pack("<HI", 0, end) for end in ends)


def giant_ppm(chance: random.Random) -> bytes:
    return b"P6 60000 60000 255\n" + chance.randbytes(100)


def plain_picture(mode: str, kind: str, **options: Any) -> Make:
    return lambda chance: encoded(noise(chance, mode), kind, **options)


def of_size(width: int, height: int) -> Make:
    return lambda chance: encoded(noise(chance, "L", (width, height)), "PNG")


def palette(chance: random.Random) -> bytes:
    image = noise(chance, "P")
    image.putpalette(chance.randbytes(768))
    return encoded(image, "PNG", transparency=chance.randrange(256))


KINDS = (
    Kind("empty", lambda _: b"", "bad"),
    Kind("text", plain(b"Dear all,\n"), "bad"),
    Kind("HTML", plain(b"<!doctype html><html>"), "bad", ".png"),
    Kind("EPS", plain(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "bad"),
    Kind("PDF", plain(b"%PDF-1.7\n"), "bad"),
    Kind("PSD", plain(b"8BPS\0\1"), "bad", ".png"),
    Kind("zeros", plain(bytes(300)), "bad"),
    Kind("zip", zipped, "bad", ".png"),
    Kind("gzip", lambda c: gzip.compress(encoded(noise(c), "JPEG")), "bad"),
    Kind("beginning of a PNG", plain(b"\x89PNG\r\n\x1a\n"), "bad", ".png"),
    Kind("beginning of a JPEG 2000", plain(b"\0\0\0\x0cjP  \r\n\x87\n"), "bad", ".jp2"),
    Kind("cut JPEG", cut("JPEG"), "bad"),
    Kind("cut progressive JPEG", cut("JPEG", progressive=True), "bad"),
    Kind("cut PNG", cut("PNG"), "bad", ".png"),
    Kind("cut GIF", cut("GIF"), "bad", ".gif"),
    Kind("cut WebP", cut("WEBP"), "bad", ".webp"),
    Kind("cut TIFF", cut("TIFF"), "bad", ".tif"),
    Kind("cut BMP", cut("BMP"), "bad", ".bmp"),
    Kind("cut PPM", cut("PPM"), "bad", ".ppm"),
    Kind("cut JPEG 2000", cut("JPEG2000"), "either", ".jp2"),
    Kind("flipped JPEG", flipped("JPEG"), "either"),
    Kind("flipped PNG", flipped("PNG"), "either", ".png"),
    Kind("flipped GIF", flipped("GIF"), "either", ".gif"),
    Kind("flipped WebP", flipped("WEBP"), "either", ".webp"),
    Kind("flipped TIFF", flipped("TIFF"), "either", ".tif"),
    Kind("spliced JPEG", spliced("JPEG", "JPEG"), "either"),
    Kind("PNG and JPEG spliced", spliced("PNG", "JPEG"), "bad", ".png"),
    Kind("JPEG of giant size", jpeg_of_giant_size, "bad"),
    Kind("giant PNG", giant_png, "bad", ".png"),
    Kind("PNG bomb", bomb_png, "either", ".png"),
    Kind("PNG of no width", lambda c: png(0, 8) + c.randbytes(9), "bad", ".png"),
    Kind("zTXt bomb", text_bomb(b"zTXt", b"Comment"), "either", ".png"),
    Kind("iCCP bomb", text_bomb(b"iCCP", b"icc"), "either", ".png"),
    Kind("giant GIF", giant_gif, "bad", ".gif"),
    Kind("giant WebP", giant_webp, "bad", ".webp"),
    Kind("giant BMP", giant_bmp, "bad", ".bmp"),
    Kind("giant TIFF", giant_tiff, "bad", ".tif"),
    Kind("deflated TIFF bomb", deflate_tiff, "either", ".tif"),
    Kind("TIFF that leads to itself", endless_tiff, "either", ".tif"),
    Kind("TIFF of 10,000 directories", many_directories, "either", ".tif"),
    Kind("giant PPM", giant_ppm, "bad", ".ppm"),
    Kind("1 x 30000", of_size(1, 30_000), "either", ".png"),
    Kind("30000 x 1", of_size(30_000, 1), "either", ".png"),
    Kind("PNG named JPEG", plain_picture("RGB", "PNG"), "good"),
    Kind("16 bits", plain_picture("I;16", "PNG"), "good", ".png"),
    Kind("CMYK", plain_picture("CMYK", "JPEG"), "good"),
    Kind("palette with a hole", palette, "good", ".png"),
    Kind("gray with alpha", plain_picture("LA", "PNG"), "good", ".png"),
    Kind("broken EXIF", broken_exif, "good"),
    Kind("broken colour profile", broken_profile, "good"),
    Kind("broken later frame", broken_later_frame, "good", ".gif"),
)
