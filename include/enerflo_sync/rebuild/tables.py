"""The tables that a rebuild can derive."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from enerflo_sync.resources.registry import ALL, STORED
from enerflo_sync.warehouse.schema import submissions

# Tables whose every version is stored, or whose records come from payloads.
_TABLES = (
    *STORED,
    submissions.name,
    *(one.name for one in ALL if one.versions is None and one.payloads is not None),
)

if TYPE_CHECKING:

    class RebuildTable(StrEnum):
        """A mirror table that stored records can fill again; change orders come with their adders."""
else:
    RebuildTable = StrEnum("RebuildTable", {name.upper(): name for name in _TABLES})
    RebuildTable.__doc__ = "A mirror table that stored records fill again; of others only the rows are kept."
