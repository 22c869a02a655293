"""Put the commands together, and turn every error into one line on standard error and an exit code.

In: the arguments. Out: the exit code. This is the only place that does either.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from clipsearch.cli import render
from clipsearch.cli.check import check, with_share
from clipsearch.cli.demo import demo
from clipsearch.cli.forget import forget
from clipsearch.cli.imports import take_in
from clipsearch.cli.index import index
from clipsearch.cli.models import models
from clipsearch.cli.options import ExitCode
from clipsearch.cli.queries import queries
from clipsearch.cli.query import QueryCommand, query
from clipsearch.cli.repair import backup, repair
from clipsearch.cli.status import errors, status
from clipsearch.errors import ClipsearchError

EPILOG = (
    "Exit codes: 0 done or found, 1 nothing found, 2 error, 3 done but some files skipped, "
    "10 no library, 11 locked by another process."
)

# Plain help: it reads the same on a terminal, in a pipe and in the README.
app = typer.Typer(
    name="clipsearch",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("index")(index)
app.command("query", epilog=EPILOG, cls=QueryCommand)(query)
for command in (queries, status, errors, forget, check, repair, backup, demo):
    app.command(command.__name__)(command)
app.command("import")(take_in)
app.add_typer(models, name="models")


def show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            render.text(f"clipsearch {version('clipsearch')}")
        except PackageNotFoundError:
            render.text("clipsearch (not installed)")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=EPILOG)
def start(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find pictures by words or by example, on your own machine."""
    if context.invoked_subcommand is None:
        render.text(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command with `arguments` (default: the program's own) and return its exit code."""
    given = with_share(sys.argv[1:] if arguments is None else arguments)
    try:
        code = int(app(args=given, prog_name="clipsearch", standalone_mode=False) or 0)
    except ClipsearchError as error:
        render.complain(str(error))
        return error.exit_code
    except typer.TyperException as error:
        render.complain(misuse(error, given))
        return ExitCode.ERROR
    except render.OutputClosed:
        render.let_go_of_output()
        return ExitCode.OUTPUT_CLOSED
    except OSError as error:  # what no other layer foresaw, and Typer's own output
        render.let_go_of_output()
        render.complain(refusal(error))
        return ExitCode.ERROR
    if code == ExitCode.INTERRUPTED:  # what Typer makes of KeyboardInterrupt
        render.complain("interrupted; nothing that was finished is lost")
    return code


def misuse(error: typer.TyperException, given: Sequence[str]) -> str:
    """Give Typer's message in our form, with the command whose help explains more.

    Typer does not say where a value is missing at the end of the arguments.
    """
    message = error.format_message().rstrip(".")
    context: typer.Context | None = getattr(error, "ctx", None)
    names = [command.name for command in app.registered_commands]
    named = f"clipsearch {given[0]}" if given and given[0] in names else "clipsearch"
    command = context.command_path if context else named
    return f"{message[:1].lower()}{message[1:]}; see {command} --help"


def refusal(error: OSError) -> str:
    """Say what the system refused, and for which file."""
    what = (error.strerror or str(error) or type(error).__name__).lower()
    where = f"{error.filename}: {what}" if error.filename is not None else what
    return f"the system refused ({where}): check permissions, disk space and where output goes"
