"""The result of one of the doctor's checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from enerflo_sync.crm.doctor import Finding
from enerflo_sync.errors import EnerfloSyncError


@dataclass(frozen=True)
class Check:
    """The result of one check.

    :param failed: the check itself could not run; ``detail`` says why and what to do.
    :param made: False if there was nothing to check yet, or a reason not to; ``detail`` says which.
    :param figures: what it counted, for programs: added to the check's JSON.
    """

    name: str
    detail: str
    failed: bool = False
    made: bool = True
    findings: list[Finding] = field(default_factory=list)
    figures: Mapping[str, Any] = field(default_factory=dict)


def made(name: str, look: Callable[[], str]) -> Check:
    """Run ``look`` and return it as a check; one of our errors makes it fail."""
    try:
        return Check(name, look())
    except EnerfloSyncError as error:
        return Check(name, str(error), failed=True)
