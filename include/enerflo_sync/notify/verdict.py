"""Whether the newest reconciliation is an all-clear, where no other event tells that it is none."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.notify.late import polled_lists
from enerflo_sync.reconcile.render.doubts import hardly_matched_tables, unmatched_tables
from enerflo_sync.reconcile.render.verdict import Verdict, is_all_clear, verdict_text
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.resources.registry import KINDS

_NEWEST = sa.text("""
/* enerflo-sync notify: the newest report */
select report from sync.reconciliations where account = :account and finished_at is not null
order by started_at desc limit 1
""")

_log = logging.getLogger(__name__)
# unexplained_differences, mirror_stale and crm_copy_late tell of these.
_TOLD_ELSEWHERE = frozenset({Verdict.OVER_BUDGET, Verdict.OVERDUE, Verdict.COPY_OVERDUE})


def open_verdicts(connection: sa.Connection, config: SyncConfig, account: str) -> list[dict[str, Any]]:
    """Return the newest reconciliation's verdict if no other event tells that it is no all-clear."""
    content = connection.scalar(_NEWEST, {"account": account})
    if not content:
        return []
    try:
        report = msgspec.convert(content, ReconciliationReport, strict=False)
    except msgspec.ValidationError:
        # Of another version: the next reconciliation stores one that can be read.
        _log.warning("report not read account=%s", account)
        return []
    words = verdict_text(report)
    unread = _unread(report, config, account) if words.verdict is Verdict.OVERDUE else []
    if is_all_clear(report) or (words.verdict in _TOLD_ELSEWHERE and not unread):
        return []
    # The same tables are the same trouble, whatever the counts are by then.
    name = " ".join([str(words.verdict), *sorted(unread or _tables(report, words.verdict))])
    return [{"name": name, "headline": words.headline, "at": report.finished_at.isoformat()}]


def _unread(report: ReconciliationReport, config: SyncConfig, account: str) -> list[str]:
    """Return the overdue tables of which mirror_stale does not tell.

    It tells of lists that polls read, and of no milestones that could not be read beside their list.
    """
    polled, tables = polled_lists(config), config.tables_for(account)
    mapped = [(one, tables[one.table_name]) for one in report.overdue_tables if one.table_name in tables]
    return [
        one.table_name
        for one, table in mapped
        if not one.overdue or KINDS[table.kind(one.table_name)][0].name not in polled
    ]


def _tables(report: ReconciliationReport, verdict: Verdict) -> Iterator[str]:
    match verdict:
        case Verdict.GONE_AT_ONCE:
            yield from (one.table_name for one in report.gone_at_once)
        case Verdict.NOTHING_MATCHED:
            yield from (table.table_name for table in unmatched_tables(report))
        case Verdict.FEW_MATCHED:
            yield from (table.table_name for table in hardly_matched_tables(report))
        case Verdict.KEYS_APART:
            yield from (table.table_name for table in report.tables if table.near_keys)
        case _:
            pass
