"""What a run of prune deleted, or would delete, kind by kind."""

from __future__ import annotations

from datetime import datetime

import msgspec

from enerflo_sync.crm.retention import Kept


class PrunedKind(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted of one kind.

    :param option: the option that bounds it, and its ``days``; None keeps the kind for ever.
    :param before: what is older is deleted.
    :param rows: rows or files; a thinned version and an emptied body count as one.
    :param size: about how many bytes these took.
    """

    kind: Kept
    option: str
    days: int | None
    before: datetime | None
    rows: int = 0
    size: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What prune deleted of one account, or would delete where it only looked.

    :param run_id: its row in ``sync.runs``; None where it only looked.
    """

    account: str
    run_id: str | None
    started_at: datetime
    finished_at: datetime
    kinds: list[PrunedKind]

    @property
    def deleted(self) -> bool:
        """Return whether it deleted anything, and did not only look."""
        return self.run_id is not None

    @property
    def rows(self) -> int:
        """Return how many rows and files of all kinds."""
        return sum(one.rows for one in self.kinds)

    @property
    def size(self) -> int:
        """Return about how many bytes these took."""
        return sum(one.size for one in self.kinds)
