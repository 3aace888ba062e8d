"""What the C library keeps of the memory that is freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Numbers of malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE = 256 * 1024


def keep_heap_small() -> None:
    """Let large blocks go back to the system when they are freed, by glibc; elsewhere nothing is done.

    By itself glibc raises its bound to the largest block that was freed, and from then on pages of JSON leave
    holes in a heap that each thread has for itself (``mallopt(3)``). For long work of several threads.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_ARENA_MAX, 1)
