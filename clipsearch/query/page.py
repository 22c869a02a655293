"""Hits as HTML with their pictures inside: for notebooks, and the parts that sheets are made of.

In: hits. Out: text; whatever comes from outside is escaped. A picture that cannot be read any more
is shown by its name.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import ImageError
from clipsearch.paths import printable
from clipsearch.query.hits import score_cells

if TYPE_CHECKING:
    from clipsearch.query.hits import Hit, Hits

NOTEBOOK_PX = 160
MAX_TILES = 100  # about a megabyte in the notebook's file

# Notebooks strip style sheets, so that each element carries its own.
_GRID = "display:flex;flex-wrap:wrap;gap:10px;align-items:flex-start"
_TILE = f"margin:0;width:{NOTEBOOK_PX}px;font:12px/1.4 sans-serif;overflow-wrap:anywhere"
_PICTURE = f"display:block;margin:0;max-width:100%;max-height:{NOTEBOOK_PX}px"


def hits_html(found: Hits) -> str:
    """A fragment with a tile for each of the first MAX_TILES hits."""
    asked = f"<p>{safe(found.query.text)}</p>" if found.query else ""
    notes = "".join(f"<p>{safe(note)}</p>" for note in found.notes)
    if not found:
        return f"<div>{asked}{notes}<p>nothing found</p></div>"
    tiles = "".join(_tile(hit) for hit in found[:MAX_TILES])
    more = f"<p>and {len(found) - MAX_TILES:,} more</p>" if len(found) > MAX_TILES else ""
    return f'<div>{asked}{notes}<div style="{_GRID}">{tiles}</div>{more}</div>'


def safe(words: str) -> str:
    """Text that is text in HTML too, also inside an attribute's quotes."""
    return escape(printable(words), quote=True)


def data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def thumbnail_or_none(path: Path, size_px: int) -> bytes | None:
    """JPEG bytes; None where the file cannot be read any more."""
    from clipsearch.images import thumbnail

    try:
        return thumbnail(path, size_px)
    except (ImageError, OSError):
        return None


def _tile(hit: Hit) -> str:
    name, jpeg = safe(hit.path.name), thumbnail_or_none(hit.path, NOTEBOOK_PX)
    numbers = " &middot; ".join(score_cells(hit.score, hit.confidence))
    # Names are no alternative text: where the picture is missing the caption below has the name.
    picture = f'<img src="{data_url(jpeg)}" alt="" style="{_PICTURE}">' if jpeg else "<i>gone</i>"
    return (
        f'<figure style="{_TILE}" title="{safe(str(hit.path))}">{picture}'
        f"<figcaption><b>{numbers}</b> {name}</figcaption></figure>"
    )
