"""What the commands print: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, Any, BinaryIO, NoReturn, cast

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
from enerflo_sync.steering import ShowingStream, shown


class ShowingConsole(Console):
    """A console that shows control characters of what it prints, whoever wrote them, and sends none."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; see the class."""
        super().print(*map(_shown_object, objects), **options)


def _shown_object(one: Any) -> Any:
    if isinstance(one, Text):
        plain = shown(one.plain)
        # The places of styles within a text move with it: such a text keeps one style.
        return one if plain == one.plain else Text(plain, style=one.style)
    return shown(one) if isinstance(one, str) else one


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


def standard_output(*, is_data: bool = False) -> BinaryIO:
    """Return standard output as a binary stream of text that sends no control characters.

    :param is_data: a format that people do not read: what is not a terminal gets its very bytes.
    """
    if is_data and not sys.stdout.isatty():
        return sys.stdout.buffer
    return cast("BinaryIO", ShowingStream(sys.stdout.buffer))


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
