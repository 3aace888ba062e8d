"""Output of the commands: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import logging
import sys
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NoReturn, cast

import typer

from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.steering import ShowingStream, shown

if TYPE_CHECKING:
    from rich.console import Console

DEBUG_VARIABLE = "ENERFLO_SYNC_DEBUG"


class ShowingConsole:
    """A console that prints control characters visibly instead of sending them to the terminal.

    :param options: of rich's console. It is imported with the first print: what a schedule starts prints
        plain lines (:func:`say`), and no command should wait for it.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options

    @cached_property
    def rich(self) -> Console:
        """Return rich's own console."""
        from rich.console import Console

        return Console(**self._options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print like rich, with visible control characters."""
        self.rich.print(*map(_shown_object, objects), **options)


def _shown_object(one: Any) -> Any:
    from rich.text import Text

    if isinstance(one, Text):
        plain = shown(one.plain)
        # Replacing characters shifts the positions of styles, so such a text keeps only its base style.
        return one if plain == one.plain else Text(plain, style=one.style)
    return shown(one) if isinstance(one, str) else one


console = ShowingConsole(highlight=False, soft_wrap=True)
errors = ShowingConsole(stderr=True, highlight=False, soft_wrap=True)


class ShowingFormatter(logging.Formatter):
    """Formats log lines with visible control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, safe for a terminal."""
        return shown(super().format(record))


class Exit(IntEnum):
    """Exit codes of every command (design §11)."""

    DONE = 0
    NEEDS_A_PERSON = 1
    FAILED = 2


Account = Annotated[
    str, typer.Option("--account", metavar="NAME", help="The account of sync.yaml to work on.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output, and nothing else there.")
]


def finish(code: Exit) -> NoReturn:
    """End the command with ``code``."""
    raise typer.Exit(int(code))


def say(text: str, *, title: str = "") -> None:
    """Print a line without markup on standard output, with visible control characters.

    :param title: printed before it, bold on a terminal.
    """
    typer.echo(f"{typer.style(shown(title), bold=True)} {shown(text)}" if title else shown(text))


def print_json(value: Any) -> None:
    """Print JSON values, indented, in the order given."""
    # The escapes are JSON's own, so parsing the text as JSON yields the original value.
    sys.stdout.write(shown(json.dumps(value, indent=2, default=str, ensure_ascii=False)) + "\n")


def standard_output(*, is_data: bool = False) -> BinaryIO:
    """Return standard output as a binary stream of text without control characters.

    :param is_data: the format is not for people: unless the output is a terminal, bytes pass unchanged.
    """
    if is_data and not sys.stdout.isatty():
        return sys.stdout.buffer
    return cast("BinaryIO", ShowingStream(sys.stdout.buffer))


def unexpected(error: Exception) -> str:
    """Return the message for an error that is not ours; it names only the type: the text may hold a row."""
    return (
        f"enerflo-sync: an unexpected {type(error).__name__}; nothing was half-written."
        f" This is a defect: run it again with {DEBUG_VARIABLE}=1 and report what it prints."
    )


def print_error(error: EnerfloSyncError) -> None:
    """Print one error as one sentence on standard error: what, where, what next."""
    from rich.markup import escape

    errors.print(f"[red]enerflo-sync:[/] {escape(str(error))}".replace("\n", "\n  "))
