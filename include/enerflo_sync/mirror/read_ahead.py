"""Read the next page while the previous one is stored."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry(Generic[T]):
    """An item, an error in its place, or neither at the end."""

    item: tuple[T, ...] = ()
    error: BaseException | None = None


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
