"""Read the next page while the previous one is stored, with interpreter settings for that."""

from __future__ import annotations

import gc
import queue
import sys
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# Maximum wait of a thread for the interpreter after its socket answered. With Python's default of 5 ms, each
# answer of the server waits that long for the parsing thread (measured: a fifth of a first load's time).
SWITCH_SECONDS = 0.00002
# Number of new objects before a collection: a few megabytes.
COLLECT_AFTER = 50_000
# Held while a block has frozen the heap.
_sparing = threading.Lock()


@dataclass(frozen=True)
class _Entry(Generic[T]):
    """An item, an error in its place, or neither at the end."""

    item: tuple[T, ...] = ()
    error: BaseException | None = None


@contextmanager
def quick_switches() -> Iterator[None]:
    """Shorten the switch interval within the block, so that socket and computing threads alternate."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def spared_heap() -> Iterator[None]:
    """Exclude all objects that exist now (modules and the like) from garbage collection within the block.

    The rows of a few pages trigger a full collection, which would visit every object of the process. An inner
    block, and any block in a process that froze its heap itself, leaves the heap as it is.
    """
    if _is_frozen_by_process() or not _sparing.acquire(blocking=False):
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        _sparing.release()


@cache
def _is_frozen_by_process() -> bool:
    """Return whether the heap is frozen outside every block; asked once: each count visits all of it."""
    return gc.get_freeze_count() > 0


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect cyclic garbage less often within the block, because rows create no cycles.

    Python's default starts a collection per 700 surviving objects, and finds nothing among a chunk's rows.
    """
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def read_ahead(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Yield ``items`` in order, fetched by a thread that starts now and runs at most ``depth`` items ahead.

    An exception from ``items`` is raised here at its position. Closing this iterator stops the thread before
    its next item. ``depth`` bounds memory. With 0, items are read in the caller's thread and on demand, which
    a simulation needs to be repeatable.
    """
    if depth == 0:
        return (item for item in items)
    ahead = _ahead(items, depth)
    next(ahead)
    return ahead


def _ahead(items: Iterable[T], depth: int) -> Generator[Any, None, None]:
    """Yield once when the thread has started, then yield ``items``."""
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
