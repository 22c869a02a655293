"""A small reader of sixels, to see what a terminal would show."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(
    rb'"(?P<raster>[\d;]+)|#(?P<register>\d+)(?:;2;(?P<rgb>\d+;\d+;\d+))?|'
    rb"!(?P<times>\d+)(?P<repeated>[?-~])|(?P<back>\$)|(?P<down>-)|(?P<plain>[?-~])"
)


def decoded(data: bytes) -> NDArray[np.uint8]:
    """One picture → RGB `[height, width, 3]`; black where nothing was drawn."""
    assert data.startswith(b"\x1bP") and data.endswith(b"\x1b\\")
    body = data[data.index(b"q") + 1 : -2]
    tokens = [*_TOKEN.finditer(body)]
    assert b"".join(token.group() for token in tokens) == body, "what is no sixel"
    _, _, width, height = map(int, tokens[0]["raster"].split(b";"))
    # A band is six rows, also the last one.
    canvas = np.zeros((height + 6, width, 3), dtype=np.uint8)
    palette: dict[bytes, list[int]] = {}
    x, top, colour = 0, 0, [0, 0, 0]
    for token in tokens[1:]:
        if token["rgb"]:
            palette[token["register"]] = [round(int(p) * 2.55) for p in token["rgb"].split(b";")]
        elif token["register"]:
            colour = palette[token["register"]]
        elif token["back"]:
            x = 0
        elif token["down"]:
            x, top = 0, top + 6
        else:
            times = int(token["times"] or 1)
            bits = ord(token["repeated"] or token["plain"]) - ord("?")
            for row in range(6):
                if bits >> row & 1:
                    canvas[top + row, x : x + times] = colour
            x += times
            assert x <= width, "a line is wider than the picture"
    assert not canvas[height:].any(), "drawn below the picture"
    return canvas[:height]
