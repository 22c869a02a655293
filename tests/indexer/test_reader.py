"""One file: its bytes are read once, and hash and pixels are of the same ones."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipsearch.images import Signature, content_hash, signature
from clipsearch.indexer.frames import Found, Setup, Want
from clipsearch.indexer.reader import FileReader
from tests.conftest import Paint
from tests.indexer.hostile import RAISE, HostileEncoder

SETUP = Setup(HostileEncoder().preprocess, 8, 10**6, 512, 30, 1 << 20)


def read(path: Path, setup: Setup = SETUP, want: Want = Want.PIXELS) -> Found:
    return FileReader(setup, lambda _: None)(path, want)


def test_a_picture_becomes_pixels_and_facts(paint: Paint) -> None:
    path = paint("red.png", size=(30, 20))
    found = read(path)
    assert (found.width, found.height, found.reason) == (30, 20, None)
    assert found.content_hash == content_hash(path)
    times = Signature(found.size or 0, found.mtime_ns or 0, found.ctime_ns or 0)
    assert times == signature(path.stat()) and (found.read_ns or 0) > times.ctime_ns
    assert found.pixels is not None and np.all(found.pixels == (255, 0, 0))


def test_known_contents_are_not_decoded_unless_it_is_asked_for(paint: Paint) -> None:
    path = paint("red.png")
    setup = replace(SETUP, known=frozenset([content_hash(path)]))
    known = read(path, setup)
    assert (known.content_hash, known.pixels, known.reason) == (content_hash(path), None, None)
    assert read(path, setup, want=Want.PIXELS_EVEN_IF_KNOWN).pixels is not None


def test_the_content_is_told_before_it_is_decoded(paint: Paint) -> None:
    told: list[Found] = []
    found = FileReader(SETUP, told.append)(paint("red.png"))
    assert told == [replace(found, pixels=None, width=None, height=None, details=None)]


def test_a_file_that_vanished_needs_no_record(tmp_path: Path) -> None:
    found = read(tmp_path / "gone.png")
    assert found.vanished and found.reason == "the file vanished before it was read"


def test_a_file_that_changes_while_it_is_read_is_read_again(paint: Paint) -> None:
    path = paint("red.png", "red")
    times: list[Found] = []

    def change_once(found: Found) -> None:
        if not times:
            paint("red.png", "blue", size=(99, 99))
        times.append(found)

    found = FileReader(SETUP, change_once)(path)
    assert len(times) == 2 and (found.width, found.reason) == (99, None)
    assert found.content_hash == content_hash(path) and found.size == path.stat().st_size


def test_hash_and_pixels_are_of_the_same_bytes_also_while_the_file_changes(paint: Paint) -> None:
    path = paint("red.bmp", "red")
    red = content_hash(path)
    blue = paint("blue.bmp", "blue").read_bytes()
    colours: list[tuple[bytes, NDArray[np.uint8]]] = []

    class Watched(FileReader):
        def _decoded(self, content: io.BytesIO, path: Path, found: Found) -> Found:
            decoded = super()._decoded(content, path, found)
            assert decoded.pixels is not None
            colours.append((decoded.content_hash, decoded.pixels[0, 0]))
            return decoded

    Watched(SETUP, lambda _: path.write_bytes(blue) and None)(path)
    first, second = colours
    assert first[0] == red and tuple(first[1]) == (255, 0, 0)
    assert second[0] == content_hash(path) and tuple(second[1]) == (0, 0, 255)


def test_a_change_that_puts_the_old_date_back_is_seen(paint: Paint) -> None:
    path = paint("red.bmp", "red")
    before, blue = path.stat(), paint("blue.bmp", "blue").read_bytes()
    assert len(blue) == before.st_size

    def change_unseen(_: Found) -> None:
        path.write_bytes(blue)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    found = FileReader(SETUP, change_unseen)(path)
    assert found.reason == "the file changed while it was read" and found.pixels is None


def test_a_file_that_never_keeps_still_is_given_up(paint: Paint) -> None:
    path = paint("red.png")

    def grow(_: Found) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    found = FileReader(SETUP, grow)(path)
    assert found.reason == "the file changed while it was read" and not found.content_hash


def test_a_broken_file_is_found_with_a_reason_and_its_hash(photos: Path) -> None:
    path = photos / "broken.png"
    path.write_bytes(b"no picture")
    found = read(path)
    assert found.reason and found.reason.startswith("broken.png is not a picture")
    assert found.content_hash == content_hash(path)


def test_a_pipe_in_place_of_a_file_does_not_hold_up_the_run(photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    assert "regular file" in (read(photos / "pipe.png").reason or "")


def test_too_large_a_file_is_hashed_but_not_held_in_memory(paint: Paint) -> None:
    path = paint("red.png")
    os.truncate(path, SETUP.file_bytes + 1)
    found = read(path)
    assert found.reason == (
        "red.png needs more than 512 MB to decode; make it smaller, or raise "
        "CLIPSEARCH_DECODE_MEMORY"
    )
    assert found.content_hash == content_hash(path)


def test_too_large_a_picture_has_its_size_beside_the_reason(paint: Paint) -> None:
    found = read(paint("red.png", size=(30, 20)), replace(SETUP, max_pixels=599))
    assert (found.width, found.height) == (30, 20) and found.pixels is None
    assert "30 x 20 = 600 pixels, more than the limit of 599" in (found.reason or "")


def test_what_preprocessing_raises_is_a_reason(paint: Paint) -> None:
    found = read(paint("red.png", size=(RAISE, 20)))
    assert found.reason == "red.png cannot be made ready for the model (a size of 0)"


def test_only_the_first_picture_of_many_is_decoded(photos: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = photos / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:] * 50)
    found = read(path)
    assert found.pixels is not None and np.all(found.pixels == (255, 0, 0))
