"""The contact sheet as one picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipsearch.images import thumbnail
from clipsearch.images.contact import MAX_TILES, Tile, TileGroup, contact_sheet


def tile(colour: str = "red", name: str = "a.jpg") -> Tile:
    return Tile(thumbnail(Image.new("RGB", (400, 300), colour), 256), "0.300", name)


def drawn(*groups: TileGroup) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(contact_sheet(groups))) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def n_pixels_near(sheet: NDArray[np.uint8], rgb: tuple[int, int, int]) -> int:
    return int((np.abs(sheet.astype(int) - rgb).max(axis=2) < 12).sum())


def test_every_thumbnail_is_on_the_sheet_as_large_as_it_is() -> None:
    sheet = drawn(TileGroup("two", [tile("red"), tile("blue")]))
    assert n_pixels_near(sheet, (254, 0, 0)) == 256 * 192
    assert n_pixels_near(sheet, (0, 0, 254)) == 256 * 192


def test_five_stand_in_a_row_and_the_sixth_below() -> None:
    six, five = (drawn(TileGroup("t", [tile()] * n)) for n in (6, 5))
    assert six.shape[1] == five.shape[1]
    assert six.shape[0] > five.shape[0] + 256


def test_many_are_drawn_smaller_so_that_the_sheet_stays_handy() -> None:
    hundred = drawn(TileGroup("t", [tile()] * 100))
    assert hundred.shape[0] < 2200 and hundred.shape[1] < 2000


def test_groups_stand_below_each_other() -> None:
    alone = drawn(TileGroup("t", [tile()]))
    both = drawn(TileGroup("t", [tile()]), TileGroup("u", [tile("blue")]))
    assert both.shape[0] > 1.9 * alone.shape[0] - 32
    assert (both[: len(alone) - 16] == alone[:-16]).all()


@pytest.mark.parametrize("name", ["x" * 5000, "犬\u0301", "", "a\\x1b[31m", "W" * 40])
def test_a_name_stays_below_its_own_picture(name: str) -> None:
    sheet = drawn(TileGroup("t", [tile(name=name)]))
    card = slice(16, 16 + 256)
    beside = np.delete(sheet[16 + 46 :], np.r_[card], axis=1)
    assert (beside == (0xF6, 0xF6, 0xF4)).all()


def test_a_vanished_picture_and_an_empty_group_are_told_in_words() -> None:
    blank = drawn(TileGroup("t", [Tile(None, "", "")]))
    assert (blank[16 + 46 + 100 : 16 + 46 + 160, 16:272].min(axis=2) < 200).any()
    assert n_pixels_near(drawn(TileGroup("t", [])), (0x6B, 0x6B, 0x70)) > 0
    assert drawn().size > 0


def test_more_than_a_sheet_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="1,001"):
        contact_sheet([TileGroup("t", [Tile(None, "", "")] * (MAX_TILES + 1))])
