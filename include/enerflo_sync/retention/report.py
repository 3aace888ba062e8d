"""The report of a prune: by kind of data, what was deleted or would be deleted."""

from __future__ import annotations

from datetime import datetime

import msgspec

from enerflo_sync.crm.retention import Kept


class PrunedKind(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted of one kind of data.

    :param option: the option of sync.yaml that limits it.
    :param days: the value of the option; None keeps the kind for ever.
    :param before: the time limit; older data is deleted.
    :param rows: the number of rows or files; a deleted version and an emptied body count as one.
    :param size: the approximate number of bytes that these took.
    :param not_read: why nobody looked for such data, so that no count says that there is none; usually empty.
    """

    kind: Kept
    option: str
    days: int | None
    before: datetime | None
    rows: int = 0
    size: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    not_read: str = ""


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What prune deleted of one account, or would delete in a dry run.

    :param run_id: the run in ``sync.runs``; None in a dry run.
    :param left: archives from before that have, or may have, files older than the limit: none is deleted.
    """

    account: str
    run_id: str | None
    started_at: datetime
    finished_at: datetime
    kinds: list[PrunedKind]
    left: list[str] = []

    @property
    def deleted(self) -> bool:
        """Return whether this was a real run and not a dry one."""
        return self.run_id is not None

    @property
    def rows(self) -> int:
        """Return the number of rows and files of all kinds."""
        return sum(one.rows for one in self.kinds)

    @property
    def size(self) -> int:
        """Return the approximate number of bytes that these took."""
        return sum(one.size for one in self.kinds)
