"""`clipsearch query`: find pictures by words or by a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipsearch.cli import filter_options as only
from clipsearch.cli import query_options as how
from clipsearch.cli import render
from clipsearch.cli.help import SectionedCommand
from clipsearch.cli.opening import open_library
from clipsearch.cli.options import ExitCode, LibraryOption, ModelOption, VocabOption
from clipsearch.cli.output import Output
from clipsearch.errors import QueryError
from clipsearch.filters import Filter
from clipsearch.probes import IndexedProbe, Query, UrlProbe, checked_name, parse

if TYPE_CHECKING:
    from clipsearch.library import Library
    from clipsearch.query.wanted import QueryOptions


class QueryCommand(SectionedCommand):
    """Its arguments are words of the language: one that begins with "- " is no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give Typer the minus of `"- dog"` on its own, as `- dog` gives it."""
        with_value = {
            name
            for parameter in self.get_params(ctx)
            if not getattr(parameter, "is_flag", True)
            for name in parameter.opts
        }
        words: list[str] = []
        for before, word in zip(["", *args], args, strict=False):
            is_minus = word.startswith("- ") and before not in with_value
            words += word.split(" ", 1) if is_minus else [word]
        return super().parse_args(ctx, words)


def query(
    context: typer.Context,
    probe: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROBE", help="Words, or a picture: ./cat.jpg", show_default=False),
    ] = None,
    k: how.HitCount = 10,
    folders: only.FolderFilter = [],  # noqa: B006 - never changed
    paths: how.PathsOption = False,
    preview: how.PreviewOption = False,
    sheet: how.SheetOption = None,
    after: only.AfterFilter = None,
    before: only.BeforeFilter = None,
    year: only.YearFilter = None,
    cameras: only.CameraFilter = [],  # noqa: B006
    lenses: only.LensFilter = [],  # noqa: B006
    types: only.TypeFilter = [],  # noqa: B006
    min_width: only.WidthFilter = None,
    min_height: only.HeightFilter = None,
    landscape: only.LandscapeFilter = False,
    portrait: only.PortraitFilter = False,
    near: only.NearFilter = None,
    like: how.LikeOption = [],  # noqa: B006
    unlike: how.UnlikeOption = [],  # noqa: B006
    templates: how.TemplateOption = [],  # noqa: B006
    save: how.SaveOption = None,
    show_all: how.AllOption = False,
    min_score: how.MinScoreOption = None,
    sort: how.SortOption = "score",
    offset: how.OffsetOption = 0,
    exact: how.ExactOption = False,
    nul: how.NulOption = False,
    as_json: how.JsonOption = False,
    as_json_lines: how.JsonLinesOption = False,
    is_opened: how.OpenOption = False,
    copy_to: how.CopyOption = None,
    link_to: how.LinkOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    vocab: VocabOption = None,
) -> int:
    """Find pictures by words or by example, best first.

    Scores are cosines. Join probes by + and -, weigh them by 2: in front.
    Without any, on a terminal, it asks you for one after the other.
    """
    asking, output = Asking.of(context.params), Output.of(context.params)
    name = None if save is None else checked_name(save.removeprefix("@"))
    if probe or like or unlike:
        asked = asking.query(probe or [])
        with open_library(library, model, vocab) as opened:
            return answer(opened, asked, asking, output, name)
    if name is not None or not render.is_conversation():
        raise QueryError(
            "missing PROBE, what to look for: give words or a picture; see clipsearch query --help"
        )
    with open_library(library, model, vocab) as opened:
        converse_with(opened, asking, output)
    return ExitCode.DONE


@dataclass(frozen=True)
class Asking:
    """What holds for every query alike, whatever its words."""

    filters: Filter
    templates: tuple[str, ...]
    examples: tuple[str, ...]  # words of the language: + #12 - #7
    k: int
    options: QueryOptions

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Asking:
        """Read the options. Raises QueryError for what makes no sense."""
        k, offset, min_score = (parameters[name] for name in ("k", "offset", "min_score"))
        if k < 1:
            raise QueryError(f"-k {k} asks for no hits: give 1 or more")
        if offset < 0:
            raise QueryError(f"--offset {offset} passes over nothing: give 0 or more")
        if min_score is not None and not -1 <= min_score <= 1:
            raise QueryError(f"--min-score {min_score:g} is no cosine: give one from -1 to 1")
        examples = [
            word
            for sign, name in (("+", "like"), ("-", "unlike"))
            for number in parameters[name]
            # The probe knows what can be an id; the language takes "#-3" for words.
            for word in (sign, f"#{IndexedProbe(number).image_id}")
        ]
        return cls(
            filters=only.given_filter(parameters),
            templates=tuple(parameters["templates"]),
            examples=tuple(examples),
            k=k,
            options={
                "exact": parameters["exact"],
                "offset": offset,
                "sort": parameters["sort"],
                "min_score": min_score,
                "only_matches": not parameters["show_all"] and min_score is None,
            },
        )

    def query(self, words: Sequence[str]) -> Query:
        """The words with all that the options say. Raises QueryError."""
        asked = parse([*words, *self.examples])
        return replace(
            asked,
            filters=asked.filters.joined(self.filters).placed(on_disk),
            templates=(*asked.templates, *self.templates),
        )


def on_disk(folder: str) -> str:
    """A place on the disk, as roots are recorded: absolute, for who asks from where he is."""
    return os.path.abspath(os.path.expanduser(folder))


def answer(
    opened: Library, asked: Query, asking: Asking, output: Output, name: str | None = None
) -> ExitCode:
    """Ask the library, show what it finds, and save what was asked if it has a name."""
    found = opened.query(asked, k=asking.k, **asking.options)
    code = output.show(found, asked.text, opened.model_name)
    if not found:
        render.note(why_nothing(opened, asked, asking))
    if name is not None:
        opened.save_query(name, asked)
        render.note(f"saved: clipsearch query @{name}")
    return code


def why_nothing(opened: Library, asked: Query, asking: Asking) -> str:
    """Say in one sentence why nothing is shown, and what there is instead."""
    if any(isinstance(probe, UrlProbe) for probe in asked.probes):
        # It is not fetched again for the name of the nearest.
        is_cut = asking.options["only_matches"]
        return "nothing stands out; --all shows the nearest" if is_cut else "nothing is left"
    nearest = opened.query(asked, k=1, exact=asking.options["exact"])
    if not nearest:
        return "no picture passes the filters" if asked.filters else "there is nothing to be found"
    if asking.options["offset"]:
        return f"there are no hits after the first {asking.options['offset']:,}"
    score, path = f"{nearest[0].score:.3f}", nearest[0].path
    if asking.options["min_score"] is not None:
        return f"nothing has so high a score; the nearest: {score} {path}"
    return f"nothing stands out; the nearest: {score} {path}; --all shows them"


def converse_with(opened: Library, asking: Asking, output: Output) -> None:
    from clipsearch.cli.prompt import converse
    from clipsearch.settings import history_path

    render.note("What are you looking for? Ctrl-D ends.")
    converse(lambda line: answer(opened, asking.query([line]), asking, output), history_path())
