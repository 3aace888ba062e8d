"""What the commands print: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

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

Tick = Callable[[str, int, int | None], None]


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


class _RateColumn(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Return the rate of late, nothing while it is not known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


@contextmanager
def progress_bars(*, rates: bool = False) -> Iterator[Tick]:
    """Yield a function that shows how far each part has come; nothing is shown without a terminal.

    The function takes the part's name, how many are done, and how many there are (None: not known).

    :param rates: show the rate and the time that is left, too.
    """
    more = (_RateColumn(), TimeRemainingColumn()) if rates else ()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *more,
    )
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def tick(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done, total=total)

        yield tick
