"""Read the next page while the last one is being stored."""

from __future__ import annotations

import gc
import queue
import sys
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# A thread that waited for a socket gets the interpreter back after so long at most. With Python's own 5 ms,
# every answer of the server waits that long for the thread that parses (measured: a fifth of a first load).
SWITCH_SECONDS = 0.00002
# Objects, a few megabytes of them.
COLLECT_AFTER = 50_000


@dataclass(frozen=True)
class _Entry(Generic[T]):
    """One item, or the error that came instead of it, or neither at the end."""

    item: tuple[T, ...] = ()
    error: BaseException | None = None


@contextmanager
def quick_switches() -> Iterator[None]:
    """Let threads that wait for sockets and a thread that computes take turns quickly, until the end."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def spared_heap() -> Iterator[None]:
    """Leave what is alive already, modules and their like, out of garbage collections until the end.

    The rows of a few pages set off a full collection, which looks at every object of the process.
    """
    if gc.get_freeze_count():
        # Somebody else has done so, and decides for how long.
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for garbage in cycles only now and then until the end: rows come and go without making any.

    Python's own look comes after each 700 objects that are kept, and finds nothing among a chunk's rows.
    """
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def read_ahead(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Yield ``items`` in order, fetched from now on by a thread that is at most ``depth`` items ahead.

    An exception of ``items`` is raised here at its place in the order. Closing this iterator stops the
    thread before its next item. ``depth`` bounds memory; 0 reads in the caller's thread, and when asked,
    which a simulation needs to be repeatable.
    """
    if depth == 0:
        return (item for item in items)
    ahead = _ahead(items, depth)
    next(ahead)
    return ahead


def _ahead(items: Iterable[T], depth: int) -> Generator[Any, None, None]:
    """Yield nothing once the thread is started, and then ``items``."""
    pipe: queue.Queue[_Entry[T]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(entry: _Entry[T]) -> None:
        while not stop.is_set():
            try:
                return pipe.put(entry, timeout=0.2)
            except queue.Full:
                continue

    def fetch() -> None:
        try:
            for item in items:
                put(_Entry((item,)))
                if stop.is_set():
                    return
        except BaseException as error:
            put(_Entry(error=error))
        else:
            put(_Entry())

    thread = threading.Thread(target=fetch, name="read-ahead", daemon=True)
    thread.start()
    try:
        yield
        while True:
            entry = pipe.get()
            if entry.error is not None:
                raise entry.error
            if not entry.item:
                return
            yield entry.item[0]
    finally:
        stop.set()
        thread.join()
