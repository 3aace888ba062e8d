"""What makes a report's figures doubtful: rows that find no match, and differences that are too young."""

from __future__ import annotations

from enerflo_sync.reconcile.render.summary import compared_rows
from enerflo_sync.reconcile.report import ReconciliationReport, TableReport

# The share of the smaller side's rows, and the least number of rows to judge it by.
_LEAST_SHARE = 0.5
_FEWEST_ROWS = 20
# Changes of a usual day leave fewer differences in flight, for each row that both sides have.
_MOST_IN_FLIGHT = 0.05


def unmatched_tables(report: ReconciliationReport) -> list[TableReport]:
    """Return the tables that have rows, but none on both sides."""
    return [t for t in report.tables if not t.matched and (t.enerflo_rows or t.crm_rows)]


def hardly_matched_tables(report: ReconciliationReport) -> list[TableReport]:
    """Return the tables in which less than half of the smaller side's rows have a match.

    Each row without a match has a cause that sounds harmless, and a wrong key gives thousands of them. A
    small table can have few matches for good reasons.
    """
    return [
        table
        for table in report.tables
        if table.matched
        and (smaller := min(table.enerflo_rows, table.crm_rows)) >= _FEWEST_ROWS
        and table.matched < smaller * _LEAST_SHARE
    ]


def is_too_early(report: ReconciliationReport) -> bool:
    """Return whether so many differences are in flight that the others do not speak for the table."""
    matched = sum(table.matched for table in report.tables)
    return report.in_flight >= _FEWEST_ROWS and report.in_flight > matched * _MOST_IN_FLIGHT


def were_compared(report: ReconciliationReport) -> bool:
    """Return whether rows matched: if most do not, or only in another spelling, the key is wrong."""
    never_meet = any(table.enerflo_rows and table.crm_rows for table in unmatched_tables(report))
    spelled_apart = any(table.near_keys for table in report.tables)
    return (
        compared_rows(report) > 0
        and not never_meet
        and not hardly_matched_tables(report)
        and not spelled_apart
    )
