"""What the C library keeps of the memory that is freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3
_LARGE = 256 * 1024


def return_large_blocks() -> None:
    """Let large blocks go back to the system when they are freed, by glibc; elsewhere nothing is done.

    By itself glibc raises its bound to the largest block that was freed, and from then on pages of JSON leave
    holes in the heap of every thread (``mallopt(3)``).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
