"""How a process is asked to end, and how a short piece of work is ended as a whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Sent by a person, by a supervisor, and by a terminal that closes.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the signals that end a process wait until the block has ended; the first that came is given then.

    For what must not be left half done: a server that is started here and has nobody yet who would end it.
    Signals reach Python's main thread alone, so the block changes nothing in another.
    """
    came: list[int] = []
    handled: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # What is ignored stays so, here and in the processes that the block starts; a handler that Python did
        # not set is None, and cannot be put back.
        kept = (signal.SIG_IGN, None)
        handled = {way: how for way in ENDINGS if (how := signal.getsignal(way)) not in kept}
    for way in handled:
        signal.signal(way, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for way, how in handled.items():
            signal.signal(way, how)
        for number in came[:1]:
            signal.raise_signal(number)
