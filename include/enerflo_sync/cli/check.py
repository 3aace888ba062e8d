"""One thing that the doctor looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from enerflo_sync.crm.doctor import Finding
from enerflo_sync.errors import EnerfloSyncError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    :param failed: the check itself could not be made; ``detail`` says why and what to do.
    :param figures: what it counted, for programs: added to the check's JSON.
    """

    name: str
    detail: str
    failed: bool = False
    findings: list[Finding] = field(default_factory=list)
    figures: Mapping[str, Any] = field(default_factory=dict)


def made(name: str, look: Callable[[], str]) -> Check:
    """Return the check that ``look`` makes; one of our errors fails it."""
    try:
        return Check(name, look())
    except EnerfloSyncError as error:
        return Check(name, str(error), failed=True)
