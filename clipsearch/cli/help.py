"""Help in sections, for a command with many options.

In: the options, each with the section that it names (`rich_help_panel`). Out: plain text.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

OTHERS = "Options"


class SectionedCommand(TyperCommand):
    """A command whose help lists its options by section, in the order in which they are declared.

    What names no section comes last.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the sections."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            if parameter.param_type_name == "argument" and parameter.metavar:
                record = (parameter.metavar, record[1])  # without the name of its type
            sections.setdefault(section_of(parameter), []).append(record)
        if OTHERS in sections:
            sections[OTHERS] = sections.pop(OTHERS)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def section_of(parameter: Any) -> str:
    """The title below which an option stands."""
    if parameter.param_type_name == "argument":
        return "Arguments"
    return str(getattr(parameter, "rich_help_panel", None) or OTHERS)
