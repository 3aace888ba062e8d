"""Names of what a poll can read, separate from the poll so that importing them is cheap."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from enerflo_sync.resources.registry import ALL

if TYPE_CHECKING:

    class PollResource(StrEnum):
        """A name of :data:`enerflo_sync.resources.registry.ALL`."""
else:
    PollResource = StrEnum("PollResource", {one.name.upper(): one.name for one in ALL})
    PollResource.__doc__ = "One thing that a poll reads; milestones come in the rows of installs."
