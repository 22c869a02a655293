"""Damaged and malicious files end in one clear error, in silence, and disturb nobody else."""

from __future__ import annotations

import io
import logging
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from clipsearch.errors import ImageError, ImageTooLarge, UnreadableImage
from clipsearch.images import MAX_PIXELS, decode, decode_file
from clipsearch.images.decode import FORMATS
from clipsearch.pillow import quiet_pillow, upright_rgb

Save = Callable[..., Path]
MAGICS = (
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"GIF89a",
    b"BM",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"P6 4 4 255\n",
)


def encoded(format_name: str, image: Image.Image | None = None) -> bytes:
    content = io.BytesIO()
    picture = image or Image.effect_noise((64, 48), 60).convert("RGB")
    picture.save(content, format_name)
    return content.getvalue()


def outcome(content: bytes, target_px: int | None = None) -> str:
    """'decoded' or the message of an ImageError; any other exception fails the test."""
    try:
        decode_file(io.BytesIO(content), "x", target_px)
    except ImageError as error:
        message = str(error)
        message.encode("utf-8")
        assert message.isprintable() and len(message) < 400
        return message
    return "decoded"


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_file_cut_off_anywhere_never_decodes(format_name: str) -> None:
    whole = encoded(format_name)
    # The last bytes may be padding or an end mark that readers do without.
    for length in [*range(1, 40), *range(40, len(whole) - 64, max(1, len(whole) // 40))]:
        assert outcome(whole[:length]) != "decoded", length
        assert outcome(whole[:length], 4) != "decoded", length
    assert outcome(whole) == "decoded"


def test_a_truncated_jpeg_says_so_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(encoded("JPEG")[:-500])
    with pytest.raises(UnreadableImage, match=r"^holiday\.jpg is damaged .*truncated"):
        decode(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("format_name", FORMATS)
def test_flipped_bits_end_in_a_picture_or_an_image_error(format_name: str) -> None:
    whole = bytearray(encoded(format_name))
    places = random.Random(7)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(places.choice((1, 1, 4))):
            damaged[places.randrange(min(len(whole), places.choice((40, len(whole)))))] ^= (
                1 << places.randrange(8)
            )
        outcome(bytes(damaged))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_random_bytes_behind_a_true_beginning_never_crash(magic: bytes, rest: bytes) -> None:
    outcome(magic + rest)


@pytest.mark.parametrize(
    "content", [b"hello", b"\0" + os.urandom(2000), b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF-3.0"]
)
def test_what_is_no_picture_is_named_and_the_remedy_too(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage, match=r"x\.jpg is not a picture .*JPEG.*convert or remove"):
        decode(tmp_path / "x.jpg")


def test_formats_whose_readers_start_programs_are_refused(save: Save) -> None:
    path = save(Image.new("RGB", (5, 5)), "a.eps")
    with pytest.raises(UnreadableImage, match="not a picture"):
        decode(path)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    with pytest.raises(UnreadableImage, match=r"^x\.jpg is empty"):
        decode(tmp_path / "x.jpg")


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", tmp_path, Path("/dev/zero")):
        with pytest.raises(UnreadableImage, match="not a regular file"):
            decode(path)
    with pytest.raises(UnreadableImage, match=r"gone\.jpg cannot be opened \(no such file"):
        decode(tmp_path / "gone.jpg")
    with pytest.raises(UnreadableImage, match="not a path"):
        decode(Path("a\0b.jpg"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(save: Save, corners: Image.Image) -> None:
    path = save(corners, "closed.png")
    path.chmod(0)
    with pytest.raises(UnreadableImage, match=r"closed\.png cannot be opened \(permission denied"):
        decode(path)


def test_an_odd_name_can_be_printed_and_stored(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff\n\x1b[31m.jpg"))
    path.write_bytes(b"nothing")
    with pytest.raises(UnreadableImage) as caught:
        decode(path)
    assert str(caught.value).startswith(r"bad\xff\n\x1b[31m.jpg is not")
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("side", [60_000, 2**31 - 1])
def test_a_giant_header_is_refused_with_its_size_and_the_limit(
    giant_png: Callable[[int, int], Path], side: int
) -> None:
    with pytest.raises(ImageTooLarge) as caught:
        decode(giant_png(side, side))
    assert f"giant.png is {side:,} x {side:,}" in str(caught.value)
    assert f"limit of {MAX_PIXELS:,}" in str(caught.value)


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_limit_is_held_by_every_format_to_the_pixel(tmp_path: Path, format_name: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(format_name))
    assert decode(path, max_pixels=64 * 48).width == 64
    with pytest.raises(ImageTooLarge, match=r"64 x 48 = 3,072 pixels.* limit of 3,071"):
        decode(path, max_pixels=64 * 48 - 1)


def test_the_limit_counts_what_is_decoded_of_a_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded("JPEG"))
    assert decode(path, target_px=4, max_pixels=16 * 12).width == 64
    with pytest.raises(ImageTooLarge, match=r"is 16 x 12 = 192 pixels.* limit of 191") as caught:
        decode(path, target_px=4, max_pixels=191)
    assert caught.value.size == (16, 12)  # the limit that would let it through


@pytest.mark.parametrize(
    "options",
    [
        {"lossless": True},
        {"quality": 5},
        {"save_all": True, "append_images": [Image.new("RGB", (300, 70))]},
    ],
)
def test_a_webp_is_measured_before_it_is_opened(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "a.webp"
    Image.effect_noise((300, 70), 50).convert("RGB").save(path, **options)  # type: ignore[arg-type]
    assert decode(path, max_pixels=21_000).width == 300
    with pytest.raises(ImageTooLarge, match=r"300 x 70 = 21,000 pixels"):
        decode(path, max_pixels=20_999)


def test_even_a_reduced_jpeg_has_a_limit_to_its_whole_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded("JPEG"))
    module = sys.modules["clipsearch.images.decode"]  # the package has a function of that name
    monkeypatch.setattr(module, "MAX_SCALED_PIXELS", 3071)
    with pytest.raises(ImageTooLarge, match=r"64 x 48 = 3,072 pixels.* limit of 3,071"):
        decode(path, target_px=4, max_pixels=192)
    assert decode(path, target_px=4, max_pixels=64 * 48).width == 64


def test_pictures_end_where_pillow_would_begin_to_warn() -> None:
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS


def test_pillows_own_limit_is_neither_used_nor_changed(
    monkeypatch: pytest.MonkeyPatch, save: Save, corners: Image.Image
) -> None:
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 100
    )  # an application's choice for its own images
    assert decode(save(corners, "a.jpg")).width == 60
    assert Image.MAX_IMAGE_PIXELS == 100


def test_what_pillow_calls_a_bomb_is_called_too_large(
    monkeypatch: pytest.MonkeyPatch, save: Save, corners: Image.Image
) -> None:
    path = save(corners, "a.webp")  # its reader checks by itself, before we can
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageTooLarge, match=r"a\.webp is too large"):
        decode(path)


def test_the_warning_picture_really_makes_pillow_warn(warning_png: Path) -> None:
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(warning_png).close()


@pytest.mark.parametrize("action", ["error", "always", "default"])
def test_no_warning_of_pillow_gets_out_or_in_the_way(
    warning_png: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    decode(warning_png)
    with warnings.catch_warnings():
        warnings.simplefilter(action)  # type: ignore[arg-type]
        assert decode(warning_png).image.getpixel((0, 0)) == (255, 0, 0)
    assert capsys.readouterr() == ("", "")


def test_an_applications_own_warnings_are_left_alone(warning_png: Path) -> None:
    with pytest.warns(UserWarning, match="Invalid APNG"):
        decode(warning_png)
        Image.open(warning_png).close()
    with pytest.warns(UserWarning, match="mine"):
        warnings.warn("mine", stacklevel=1)


def test_silence_belongs_to_its_thread() -> None:
    is_quiet, is_done = threading.Event(), threading.Event()

    def stay_quiet() -> None:
        with quiet_pillow():
            is_quiet.set()
            is_done.wait(10)

    thread = threading.Thread(target=stay_quiet)
    with pytest.warns(UserWarning, match="mine"):
        thread.start()
        is_quiet.wait(10)
        warnings.warn("mine", stacklevel=1)
    is_done.set()
    thread.join()


def test_many_threads_decode_in_silence_while_others_swap_the_filters(warning_png: Path) -> None:
    def work(number: int) -> int:
        if number % 4 == 0:
            with warnings.catch_warnings():
                return 3
        return decode(warning_png).width

    assert work(1) == 3  # so that every list swapped in below is a copy of one with our filter
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(work, range(400))) == {3}
    finally:
        sys.setswitchinterval(interval)


def test_pillows_log_does_not_reach_a_terminal_by_itself() -> None:
    handlers = logging.getLogger("PIL").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


# libtiff prints a line about a broken LZW stream by itself; Pillow offers no way to stop it.
@pytest.mark.parametrize("format_name", [name for name in FORMATS if name != "TIFF"])
def test_readers_print_nothing(format_name: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = encoded(format_name)
    for place in range(8, len(whole), len(whole) // 30):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        outcome(bytes(damaged))
    assert capfd.readouterr() == ("", "")


def test_an_image_object_that_cannot_be_loaded_is_unreadable() -> None:
    with Image.open(io.BytesIO(encoded("JPEG")[:-500])) as image, pytest.raises(UnreadableImage):
        upright_rgb(image)
