"""What Airflow's workers are called in these tests, where several are on one machine."""

from __future__ import annotations

import os
import socket


def worker_name() -> str:
    """Return ``WORKER_NAME``, or the machine's name in a process that is no worker."""
    return os.environ.get("WORKER_NAME") or socket.gethostname()
