"""Copy: bring our copies of CRM tables in another database up to date."""

from __future__ import annotations

from collections.abc import Callable

from enerflo_sync.copies.refresh import CopyReport, refresh_copies
from enerflo_sync.copies.trust import require_trust
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.warehouse.revision import require_migrated


def run_copy(
    context: AccountContext, *, progress: Callable[[str, int, int], None] | None = None
) -> list[CopyReport]:
    """Bring the copies up to date (:func:`enerflo_sync.copies.refresh.refresh_copies`).

    Does nothing where the warehouse itself holds the CRM's tables.
    """
    crm = context.crm
    if crm is None:
        return []
    require_migrated(context.engine)
    return refresh_copies(context.engine, crm, context.config, context.account, progress=progress)


def require_trusted(context: AccountContext) -> None:
    """Refuse to plan or write changes in a database on which our statements never ran (:mod:`.copies.trust`).

    :raises ConfigurationError: the mode lets its tables be written, and ``trust_dialect`` is not set.
    """
    if context.crm is not None:
        require_trust(context.crm.dialect, context.config, context.account)
