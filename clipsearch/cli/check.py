"""`clipsearch check`: is everything that the library keeps sound?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.options import ExitCode, JsonOption, LibraryOption, given_share
from clipsearch.paths import printable

if TYPE_CHECKING:
    from clipsearch.care.report import CheckReport


def check(
    read_data: Annotated[
        float | None,
        typer.Option(
            "--read-data",
            metavar="SHARE",
            parser=given_share,
            help="Also read the pictures themselves again, or a share of them (--read-data=5%), "
            "and compare them with what they were.",
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check that everything the library keeps is sound. Changes nothing.

    Ends with 1 if something is not.
    """
    from clipsearch.library import Library

    with Library(library) as opened:
        found = opened.check(read_data or 0.0, on_progress=render.StageLines())
    if as_json:
        render.json_object(found.to_dict())
    else:
        show(found)
    return ExitCode.DONE if found.is_clean else ExitCode.UNSOUND


def with_share(arguments: Sequence[str]) -> list[str]:
    """Give `check --read-data` its share, that of all pictures; Typer has no optional values."""
    if "check" not in arguments[:1]:
        return list(arguments)
    following = [*arguments[1:], ""]
    return [
        f"{word}=100%" if word == "--read-data" and not after[:1].isdigit() else word
        for word, after in zip(arguments, following, strict=True)
    ]


def show(found: CheckReport) -> None:
    for finding in found.findings:
        where = "" if finding.where in finding.what else f"{finding.where}: "
        render.text(printable(f"{finding.kind}: {where}{finding.what}"))
    if found.n_found > len(found.findings):
        render.text(f"and {found.n_found - len(found.findings):,} more")
    for remedy, n_findings in Counter(f.remedy for f in found.findings).items():
        render.note(f"{n_findings:,} found: {remedy}")
    if found.is_clean:
        render.text(f"nothing wrong: {looked_at(found)} in {found.seconds:.1f} s")


def looked_at(found: CheckReport) -> str:
    """Say what was checked, leaving out what there is none of."""
    counts = {
        "images": found.n_images,
        "vectors": found.n_vectors,
        "index files": found.n_index_files,
        "pictures read again": found.n_pictures_read,
    }
    return ", ".join(f"{n:,} {what}" for what, n in counts.items() if n) or "an empty library"
