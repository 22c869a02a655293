"""The README and the changelog say what the program does; the program's help says it too."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from bench import table
from clipsearch.cli.app import app, main
from clipsearch.cli.options import ExitCode
from tests.clip.tiny import write_bundle
from tests.conftest import Paint

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GROUP: Any = typer.main.get_command(app)
COMMANDS = sorted(GROUP.commands)


def options(command: str) -> set[str]:
    return {name for parameter in GROUP.commands[command].params for name in parameter.opts}


def readme_calls() -> list[list[str]]:
    """The words of every `$ clipsearch …` line of the README, without comments and pipes."""
    calls = re.findall(r"^\$ clipsearch (.*)$", README, re.MULTILINE)
    return [shlex.split(call.split(" | ")[0], comments=True) for call in calls]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_shows_every_command(command: str) -> None:
    assert any(call[0] == command for call in readme_calls())


@pytest.mark.parametrize("call", readme_calls(), ids=" ".join)
def test_every_command_line_of_the_readme_exists(call: list[str]) -> None:
    command = GROUP.commands[call[0]]
    # Parses the arguments without running anything; raises for an unknown option.
    command.make_context(call[0], call[1:], parent=None).close()


def test_the_python_of_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    paint: Paint,
) -> None:
    """With random weights in the place of ViT-B/32, which no test can fetch."""
    paint("red.png"), paint("blue.png", "blue")
    write_bundle(tmp_path / "cache" / "ViT-B-32")
    monkeypatch.setenv("CLIPSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[1] for line in shown) == [
        str(tmp_path / "photos" / name) for name in ("blue.png", "red.png")
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_names_every_option(command: str) -> None:
    missing = {
        name
        for name in options(command) - {"--help", "-h"}
        if name.startswith("-") and not re.search(rf"(?<![\w-]){name}(?![\w-])", README)
    }
    assert not missing


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_explains_itself(command: str) -> None:
    assert GROUP.commands[command].help
    for parameter in GROUP.commands[command].params:
        assert parameter.help, f"{command} {parameter.opts} has no help"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_json(command: str) -> None:
    assert "--json" in options(command)


@pytest.mark.parametrize("code", list(ExitCode))
def test_the_readme_explains_every_exit_code(code: ExitCode) -> None:
    assert re.search(rf"^\| {int(code)} \|", README, re.MULTILINE)


HELP = re.compile(r"<!-- help: clipsearch (.*?) -->\n```text\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize(("call", "shown"), HELP.findall(README), ids=lambda each: each[:20])
def test_the_readme_holds_the_help_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], call: str, shown: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main(call.split())
    assert shown.strip() == capfd.readouterr().out.strip()


def test_the_readme_holds_the_help_of_all_and_of_query() -> None:
    assert {call for call, _ in HELP.findall(README)} >= {"--help", "query --help"}


def test_the_changelog_knows_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first
    assert first.group(1) == project["version"]


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`?make ([a-z-]+)`?", README)) & set(
        re.findall(r"make ([a-z-]+)", README)
    )
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^):#]+)\)", README))))
def test_links_of_the_readme_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_table_of_measurements_is_that_of_the_kept_results() -> None:
    assert table.in_readme(README, table.read()) == README
    assert len(table.markdown(table.read()).splitlines()) >= 10  # with its head


def test_results_that_are_missing_take_their_lines_with_them() -> None:
    lines = table.markdown({"add": table.read()["add"]}).splitlines()
    assert len(lines) == 3 and lines[2].startswith("| add 100 pictures")
