"""What the commands print: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import logging
import re
import sys
from enum import IntEnum
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from enerflo_sync.errors import EnerfloSyncError

# Characters that steer a terminal or turn the reading order: shown as their escape, never sent.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def shown(text: str) -> str:
    r"""Return ``text`` with what steers a terminal spelled out (``\u001b``); line ends and tabs stay."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class ShowingConsole(Console):
    """A console that shows control characters of what it prints, whoever wrote them, and sends none."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; see the class."""
        super().print(*(shown(one) if isinstance(one, str) else one for one in objects), **options)


console = ShowingConsole(highlight=False, soft_wrap=True)
errors = ShowingConsole(stderr=True, highlight=False, soft_wrap=True)


class ShowingFormatter(logging.Formatter):
    """Log lines in which control characters are shown, not sent."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line as it may stand on a terminal."""
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


def print_json(value: Any) -> None:
    """Print JSON values, indented, in the order given."""
    # The escapes are JSON's own: whoever reads the text as JSON gets the very value.
    sys.stdout.write(shown(json.dumps(value, indent=2, default=str, ensure_ascii=False)) + "\n")


def print_error(error: EnerfloSyncError) -> None:
    """Print one error as one sentence on standard error: what, where, what next."""
    errors.print(f"[red]enerflo-sync:[/] {escape(str(error))}".replace("\n", "\n  "))
