"""Progress bars on standard error, for long commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Tick = Callable[[str, int, int | None], None]


def progress_bars(*, rates: bool = False) -> AbstractContextManager[Tick]:
    """Return a context manager that yields a function which shows the progress of each part on a terminal.

    The function takes the part's name, the number done, and the total (None: unknown). Without a
    terminal it shows nothing, and rich is not imported: a schedule has none.

    :param rates: also show the rate and the remaining time.
    """
    if not sys.stderr.isatty():
        return nullcontext(lambda *_: None)
    from enerflo_sync.cli.rich_bars import rich_bars

    return rich_bars(rates=rates)
