"""How an answer is shown, and what else is done with its pictures.

In: the options of `query`, then hits. Out: lines on standard output, files, an exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clipsearch.cli import render
from clipsearch.cli.options import ExitCode
from clipsearch.errors import QueryError

if TYPE_CHECKING:
    from clipsearch.cli.handover import Handover
    from clipsearch.cli.preview import Preview
    from clipsearch.query.hits import Hits

Form = Literal["hits", "paths", "-0", "json", "jsonl", "preview"]


@dataclass(frozen=True)
class Output:
    """What is to be done with each answer."""

    form: Form
    preview: Preview | None
    sheet: Path | None
    is_opened: bool
    copy_to: Path | None
    link_to: Path | None

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Output:
        """Read the options. Raises QueryError where they contradict each other."""
        form = _form(parameters)
        preview = _preview() if form == "preview" else None
        if parameters["sheet"] is not None:
            from clipsearch.cli.sheet import check_place

            check_place(parameters["sheet"])
        for folder in (parameters["copy_to"], parameters["link_to"]):
            if folder is not None:
                from clipsearch.cli.handover import check_folder

                check_folder(folder)
        return cls(
            form="hits" if form == "preview" and preview is None else form,
            preview=preview,
            sheet=parameters["sheet"],
            is_opened=parameters["is_opened"],
            copy_to=parameters["copy_to"],
            link_to=parameters["link_to"],
        )

    def show(self, found: Hits, words: str, model: str) -> ExitCode:
        """Write an answer, and do the rest. Raises ClipsearchError for what cannot be done."""
        self._write(found, words, model)
        for each in found.notes:
            render.note(each)
        if self.sheet is not None:
            _write_sheet(self.sheet, found, words)
        lost = self._hand_over(found) if found else False
        if not found:
            return ExitCode.NOTHING_FOUND
        return ExitCode.SOME_SKIPPED if lost else ExitCode.DONE

    def _write(self, found: Hits, words: str, model: str) -> None:
        if self.form == "json":
            render.json_object({"query": words, "model": model, "hits": found.to_dicts()})
        elif self.form == "jsonl":
            render.hit_lines(found)
        elif self.form in ("paths", "-0"):
            render.paths(found, end=b"\0" if self.form == "-0" else b"\n")
        elif self.preview is not None:
            self.preview.show(found)
        else:
            render.hits(found)

    def _hand_over(self, found: Hits) -> bool:
        """Copy, link and open what is wanted; True if a file was not to be had."""
        lost = False
        if self.copy_to is not None:
            from clipsearch.cli.handover import copy_all

            lost |= _tell(copy_all(found.paths, self.copy_to), "copied", self.copy_to)
        if self.link_to is not None:
            from clipsearch.cli.handover import link_all

            lost |= _tell(link_all(found.paths, self.link_to), "linked", self.link_to)
        if self.is_opened:
            from clipsearch.cli.handover import open_with_viewer
            from clipsearch.settings import surroundings

            open_with_viewer((self.sheet or found[0].path).absolute(), surroundings())
        return lost


def _form(parameters: Mapping[str, Any]) -> Form:
    forms: dict[Form, bool] = {
        "json": parameters["as_json"],
        "jsonl": parameters["as_json_lines"],
        "preview": parameters["preview"],
        "-0": parameters["nul"],
        "paths": parameters["paths"] and not parameters["nul"],
    }
    chosen: list[Form] = [form for form, is_wanted in forms.items() if is_wanted]
    if len(chosen) > 1:
        names = " and ".join(form if form == "-0" else f"--{form}" for form in chosen)
        raise QueryError(f"{names} are different outputs: choose one of them")
    return chosen[0] if chosen else "hits"


def _preview() -> Preview | None:
    from clipsearch.cli.preview import NoPictures, Preview

    try:
        return Preview.here()
    except NoPictures as error:
        render.note(str(error))
        return None


def _write_sheet(file: Path, found: Hits, words: str) -> None:
    from clipsearch.cli.sheet import SheetQuery, write_sheet
    from clipsearch.probes import ImageProbe

    probe: str | Path = words
    if found.query is not None and len(found.query.probes) == 1:
        (only,) = found.query.probes
        if isinstance(only, ImageProbe):
            probe = only.path.expanduser()
    write_sheet(file, "clipsearch", "", [SheetQuery.of(probe, found)])
    render.note(f"contact sheet: {file}")


def _tell(done: Handover, verb: str, folder: Path) -> bool:
    for each in done.lost:
        render.note(f"not {verb}: {each}")
    there = f", {done.n_there:,} had been there" if done.n_there else ""
    pictures = "1 picture" if done.n_new == 1 else f"{done.n_new:,} pictures"
    render.note(f"{verb} {pictures} to {folder}{there}")
    return bool(done.lost)
