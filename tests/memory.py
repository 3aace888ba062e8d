"""Temporary files of a test run in memory, where there is room: databases, Airflow's home, dropped files."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108
# Bytes. A whole run needs a good half of them.
_ROOM = 6 << 30


def keep_temporary_files_in_memory() -> None:
    """Make temporary files of this process, and of those it starts, in memory.

    Where ``TMPDIR`` is set, or the machine has no such memory to spare, they stay where they are.
    """
    if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)
