"""Settings of the whole process: how a command starts and ends, and jobs that move many records.

Only entry points use this module (the command line, Airflow's operators): a library must not change the
process of whoever imports it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Maximum wait of a thread for the interpreter after its socket answered. With Python's default of 5 ms, each
# answer of the server waits that long for the parsing thread (measured: a fifth of a first load's time).
SWITCH_SECONDS = 0.00002
# Number of new objects before a collection: more than the imports of any command make.
COLLECT_AFTER = 200_000
# Numbers of malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE = 256 * 1024


def collect_rarely() -> None:
    """Collect cyclic garbage less often, and no more when the process ends.

    The imports of a command make 130,000 to 180,000 objects that all stay. By default Python looks through
    them again and again while they are made, and takes them apart when the process ends, which then frees its
    memory anyway (measured: ``enerflo-sync reconcile`` takes 0.71 s of CPU instead of 1.04 s).
    """
    gc.set_threshold(COLLECT_AFTER, 20, 100)
    atexit.register(gc.freeze)


@contextmanager
def moving_records(*, for_long: bool = False) -> Iterator[None]:
    """Set the process up for a job that reads or writes many records, within the block.

    :param for_long: by several threads and for a long time, as a backfill does.
    """
    if for_long:
        keep_heap_small()
    with quick_switches():
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


def keep_heap_small() -> None:
    """Let large blocks go back to the system when they are freed, by glibc; elsewhere nothing is done.

    By itself glibc raises its bound to the largest block that was freed, and from then on pages of JSON leave
    holes in a heap that each thread has for itself (``mallopt(3)``). It stays so until the process ends.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_ARENA_MAX, 1)
