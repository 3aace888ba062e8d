"""One thing that the doctor looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from enerflo_sync.crm.doctor import Finding
from enerflo_sync.errors import EnerfloSyncError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    :param failed: the check itself could not be made; ``detail`` says why and what to do.
    """

    name: str
    detail: str
    failed: bool = False
    findings: list[Finding] = field(default_factory=list)


def made(name: str, look: Callable[[], str]) -> Check:
    """Return the check that ``look`` makes; one of our errors fails it."""
    try:
        return Check(name, look())
    except EnerfloSyncError as error:
        return Check(name, str(error), failed=True)
