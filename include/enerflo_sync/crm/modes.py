"""Which side of an account, or of a table, may be written."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Mode(StrEnum):
    """Which side may be written."""

    REPORT = "report"
    CRM = "crm"
    ENERFLO = "enerflo"
    BOTH = "both"

    @property
    def writes(self) -> frozenset[str]:
        """Return the directions in which rows may be written, of ``to_crm`` and ``to_enerflo``."""
        return _WRITES[self]


_WRITES = {
    Mode.REPORT: frozenset[str](),
    Mode.CRM: frozenset({"to_crm"}),
    Mode.ENERFLO: frozenset({"to_enerflo"}),
    Mode.BOTH: frozenset({"to_crm", "to_enerflo"}),
}


def widest(modes: Iterable[Mode]) -> Mode:
    """Return the mode that allows every write that any of ``modes`` allows."""
    writes = frozenset[str]().union(*(mode.writes for mode in modes))
    return next(mode for mode in Mode if mode.writes == writes)
