"""Write a contact sheet: queries and their hits → one HTML page, or one PNG, with the pictures.

The page needs no other file, no network and no script. Whatever comes from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipsearch.errors import ClipsearchError
from clipsearch.paths import printable
from clipsearch.query.hits import score_cells
from clipsearch.query.page import data_url, safe, thumbnail_or_none

if TYPE_CHECKING:
    from clipsearch.library import Hit

THUMBNAIL_PX = 256
MARK, MARKED_BYTES = b"clipsearch", 512  # near the beginning of every sheet, of either kind

STYLE = """
:root { color-scheme: light dark; --page: #f6f6f4; --card: #fff; --ink: #1d1d1f; --soft: #6b6b70;
  --line: #e3e3df; --bar: #3b7ddd; }
@media (prefers-color-scheme: dark) { :root { --page: #161618; --card: #222226; --ink: #ededf0;
  --soft: #9a9aa2; --line: #34343a; --bar: #6ea8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem 1.25rem; background: var(--page);
  color: var(--ink); font: 16px/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; letter-spacing: -.02em; }
header p { margin: .3rem 0 0; color: var(--soft); max-width: 48rem; }
section { margin-top: 2.2rem; }
h2 { display: flex; align-items: center; gap: .7rem; margin: 0 0 .8rem; font-size: 1.1rem;
  font-weight: 600; }
h2 img { width: 3.6rem; height: 3.6rem; object-fit: cover; border-radius: .5rem; }
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(12.5rem, 45%), 1fr));
  gap: .9rem; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .7rem;
  overflow: hidden; }
figure > img, .gone { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; }
.gone { display: grid; place-items: center; color: var(--soft); font-size: .85rem; }
figcaption { padding: .5rem .65rem .65rem; font-size: .8rem; overflow-wrap: anywhere; }
.score { display: block; font-variant-numeric: tabular-nums; font-weight: 600; }
.bar { display: block; height: .22rem; margin: .25rem 0 .4rem; border-radius: 1rem;
  background: var(--line); }
.bar i { display: block; height: 100%; border-radius: 1rem; background: var(--bar); }
.soft, .none { color: var(--soft); }
"""


@dataclass(frozen=True)
class SheetHit:
    path: Path
    score: float
    thumbnail: bytes | None  # JPEG; None where the file cannot be read any more
    caption: str = ""
    confidence: float | None = None

    @property
    def label(self) -> str:
        """The numbers, as people read them."""
        return " \u00b7 ".join(score_cells(self.score, self.confidence))


@dataclass(frozen=True)
class SheetQuery:
    """One query of the sheet. `picture` is the probe's JPEG thumbnail, where it was a picture."""

    title: str
    hits: tuple[SheetHit, ...]
    picture: bytes | None = None

    @classmethod
    def of(
        cls,
        probe: str | Path,
        found: Sequence[Hit],
        captions: Mapping[str, str] | None = None,
    ) -> SheetQuery:
        """Read the pictures of one query. `captions` are by file name."""
        captions = captions or {}
        hits = tuple(
            SheetHit(
                path=hit.path,
                score=hit.score,
                thumbnail=thumbnail_or_none(hit.path, THUMBNAIL_PX),
                caption=captions.get(hit.path.name, ""),
                confidence=hit.confidence,
            )
            for hit in found
        )
        if isinstance(probe, Path):
            return cls(f"like {probe.name}", hits, thumbnail_or_none(probe, THUMBNAIL_PX))
        return cls(probe, hits)


def write_sheet(file: Path, heading: str, remark: str, queries: Sequence[SheetQuery]) -> None:
    """Write what the file's ending asks for. Raises ClipsearchError if that is not possible."""
    check_place(file)
    if file.suffix.lower() == ".png":
        save_sheet(file, sheet_png(queries))
    else:
        save_sheet(file, sheet_html(heading, remark, queries).encode())


def check_place(file: Path) -> None:
    """Refuse a sheet that has no folder, or would take the place of something else.

    A shell makes --sheet *.png the first of the pictures.
    """
    if not file.parent.is_dir():
        raise ClipsearchError(
            f"the contact sheet {file} cannot be written (there is no folder {file.parent}): "
            "make it, or name another file"
        )
    if not _is_ours(file):
        raise ClipsearchError(
            f"the contact sheet {file} cannot be written (something else has that name): remove "
            "that, or name another file"
        )


def _is_ours(file: Path) -> bool:
    """Whether the file is a sheet, or nothing yet; writing tells of all that cannot be read."""
    with suppress(OSError):
        if file.is_file():
            with file.open("rb") as there:
                start = there.read(MARKED_BYTES)
            return not start or MARK in start
    return True


def sheet_png(queries: Sequence[SheetQuery]) -> bytes:
    """Give the sheet as one picture. Raises ClipsearchError for too many hits."""
    from clipsearch.images.contact import MAX_TILES, Tile, TileGroup, contact_sheet

    n_hits = sum(len(query.hits) for query in queries)
    if n_hits > MAX_TILES:
        raise ClipsearchError(
            f"{n_hits:,} hits are too many for one picture, which holds {MAX_TILES:,}: "
            "name a file that ends in .html"
        )
    groups = [
        TileGroup(
            printable(query.title),
            [Tile(hit.thumbnail, hit.label, printable(hit.path.name)) for hit in query.hits],
        )
        for query in queries
    ]
    return contact_sheet(groups, THUMBNAIL_PX)


def sheet_html(heading: str, remark: str, queries: Sequence[SheetQuery]) -> str:
    """Give the whole page as text."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="generator" content="clipsearch">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{safe(heading)}</title><style>{STYLE}</style></head><body>",
            f"<header><h1>{safe(heading)}</h1><p>{safe(remark)}</p></header>",
            *(section(query) for query in queries),
            "</body></html>\n",
        ]
    )


def section(query: SheetQuery) -> str:
    picture = f'<img src="{data_url(query.picture)}" alt="">' if query.picture else ""
    best = max((hit.score for hit in query.hits), default=0.0)
    tiles = "\n".join(figure(hit, best) for hit in query.hits)
    body = f'<div class="hits">\n{tiles}\n</div>' if tiles else '<p class="none">nothing found</p>'
    return f"<section><h2>{picture}<span>{safe(query.title)}</span></h2>\n{body}</section>"


def figure(hit: SheetHit, best: float) -> str:
    if hit.thumbnail:
        words = hit.caption or hit.path.name
        picture = f'<img src="{data_url(hit.thumbnail)}" alt="{safe(words)}">'
    else:
        picture = '<span class="gone">not readable now</span>'
    # The bar compares hits with the best one of their query; the number is the cosine itself.
    width = round(100 * max(hit.score, 0.0) / best) if best > 0 else 0
    caption = f"<br>{safe(hit.caption)}" if hit.caption else ""
    return (
        f'<figure>{picture}<figcaption><span class="score">{safe(hit.label)}</span>'
        f'<span class="bar"><i style="width:{width}%"></i></span>'
        f'<span class="soft" title="{safe(str(hit.path))}">{safe(hit.path.name)}</span>{caption}'
        "</figcaption></figure>"
    )


def save_sheet(file: Path, content: bytes) -> None:
    """Write the sheet. Raises ClipsearchError if the file cannot be written."""
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ClipsearchError(
            f"the contact sheet {file} cannot be written "
            f"({(error.strerror or str(error)).lower()}): name another file"
        ) from error
