"""The help of a command with many options is in sections, the usual ones first."""

from __future__ import annotations

import re

from tests.cli.conftest import Run


def test_the_help_of_query_begins_with_the_options_that_most_need(run: Run) -> None:
    shown = run("query", "--help").out.decode()
    titles = re.findall(r"^([A-Z][a-z ]+):$", shown, re.MULTILINE)
    assert titles[:2] == ["Arguments", "Most used"] and titles[-1] == "Options"
    assert len(titles) == len(set(titles))
    first = shown.split("Most used:\n")[1].split("\n\n")[0]
    assert re.findall(r"^  (-\S+)", first, re.MULTILINE) == [
        "-k",
        "--in",
        "--paths",
        "--preview",
        "--sheet",
    ]


def test_arguments_are_shown_as_people_call_them(run: Run) -> None:
    shown = run("query", "--help").out.decode()
    assert "  PROBE  Words" in shown and "list[str]" not in shown
