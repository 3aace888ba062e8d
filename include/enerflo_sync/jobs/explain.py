"""Explain: why a record has its values."""

from __future__ import annotations

from datetime import datetime

from enerflo_sync.explain.explanation import Explanation, masked_explanation
from enerflo_sync.explain.read import explain
from enerflo_sync.explain.reveal import note_reveal
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_explain(
    context: AccountContext,
    table: str,
    key: str,
    *,
    field: str | None = None,
    as_of: datetime | None = None,
    reveal: bool = False,
    by: str = "",
) -> Explanation:
    """Explain a record's values (:func:`enerflo_sync.explain.read.explain`), masked unless revealed.

    :param reveal: return personal data unmasked, and record in ``sync.reveals`` that ``by`` asked for it.
    """
    require_migrated(context.engine, reads_only=not reveal)
    with warehouse_errors("explain"), context.engine.begin() as connection:
        found = explain(connection, context.config, context.account, table, key, field, as_of)
        if not reveal:
            return masked_explanation(found, context.config)
        note_reveal(connection, context.account, f"{found.table}/{key.strip()}", by, context.clock.now())
        return found
