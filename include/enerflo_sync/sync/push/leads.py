"""1.1: stub."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.sync.push.changes import Change
from enerflo_sync.sync.push.run import PushRun


def push_lead(run: PushRun, changes: Sequence[Change]) -> None:
    """Stub."""
    raise NotImplementedError
