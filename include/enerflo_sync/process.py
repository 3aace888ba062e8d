"""Settings of the whole process for jobs that move many records.

Only entry points use this module (the command line, Airflow's operators): a library must not change the
process of whoever imports it.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache

# Maximum wait of a thread for the interpreter after its socket answered. With Python's default of 5 ms, each
# answer of the server waits that long for the parsing thread (measured: a fifth of a first load's time).
SWITCH_SECONDS = 0.00002
# Number of new objects before a collection: a few megabytes.
COLLECT_AFTER = 50_000
# Numbers of malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE = 256 * 1024
# Held while a block has frozen the heap.
_sparing = threading.Lock()


@contextmanager
def moving_records(*, for_long: bool = False) -> Iterator[None]:
    """Set the process up for a job that reads or writes many records, within the block.

    :param for_long: by several threads and for a long time, as a backfill does.
    """
    with ExitStack() as settings:
        for setting in (quick_switches, spared_heap, rare_collections):
            settings.enter_context(setting())
        if for_long:
            keep_heap_small()
        yield


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


def keep_heap_small() -> None:
    """Let large blocks go back to the system when they are freed, by glibc; elsewhere nothing is done.

    By itself glibc raises its bound to the largest block that was freed, and from then on pages of JSON leave
    holes in a heap that each thread has for itself (``mallopt(3)``). It stays so until the process ends.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_ARENA_MAX, 1)
