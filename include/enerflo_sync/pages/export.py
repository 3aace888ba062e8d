"""All differences that match a filter of the page of differences, as a file."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.pages.differences import DifferenceFilter, conditions_of
from enerflo_sync.reconcile.report import ReconciliationReport, StoredDifference
from enerflo_sync.reconcile.store import personal_data_classes, stored_difference

_ROWS_AT_ONCE = 2_000

# Sorted by table, because a workbook has one sheet per table.
_ALL = Template("""
/* enerflo-sync pages: differences for a file */
select d.* from sync.differences d where $where
order by d.table_name, d.difference_id
""")


def read_exported(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    report: ReconciliationReport,
    wanted: DifferenceFilter,
) -> Iterator[StoredDifference]:
    """Yield the differences that the page counts for a filter, by table, masked, in bounded memory."""
    classes = personal_data_classes(config.tables_for(account))
    where, values = conditions_of(report, wanted, classes)
    statement = sa.text(_ALL.substitute(where=where))
    streaming = connection.execution_options(stream_results=True, yield_per=_ROWS_AT_ONCE)
    for row in streaming.execute(statement, values).mappings():
        yield stored_difference(dict(row), classes)
