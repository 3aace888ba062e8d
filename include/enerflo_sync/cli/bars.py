"""Progress bars on standard error, for long commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Tick = Callable[[str, int, int | None], None]


def progress_bars(*, rates: bool = False) -> AbstractContextManager[Tick]:
    """Return what yields a function that shows the progress of each part; without a terminal nothing.

    The function takes the part's name, the number done, and the total (None: unknown). The bars are imported
    on a terminal only: a schedule has none.

    :param rates: also show the rate and the remaining time.
    """
    if not sys.stderr.isatty():
        return nullcontext(lambda *_: None)
    from enerflo_sync.cli.rich_bars import rich_bars

    return rich_bars(rates=rates)
