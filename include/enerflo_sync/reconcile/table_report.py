"""The report of one compared table: its sizes, its differences, and remarks on the comparison itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.live.arrivals import LastArrival, last_arrival
from enerflo_sync.crm.live.unclaimed_rows import unclaimed_remarks
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.counts import Sizes, Summary
from enerflo_sync.reconcile.on_its_way import late_remarks
from enerflo_sync.reconcile.overdue import is_overdue, unreadable_installs
from enerflo_sync.reconcile.remarks import (
    age_remarks,
    chosen_remarks,
    duplicate_remarks,
    late_copy,
    milestone_remarks,
    quarantine_remarks,
    quarantined_records,
    size_remarks,
    stranger_remarks,
    unread_remarks,
)
from enerflo_sync.reconcile.report import GoneAtOnce, TableReport
from enerflo_sync.reconcile.waiting import count_waiting, waiting_remarks


@dataclass(frozen=True)
class ComparedTable:
    """The result of the comparison of one table, from which its report is made.

    :param found: the numbers of mismatched rows by kind (:func:`.counts.mismatched_counts`).
    :param summary: its stored differences summed up.
    :param gone: a loss of many rows at once that is not believed; None if there is none.
    :param near_keys: how many missing records have a CRM row with another spelling of their key.
    :param why_full: why every row was compared although the run was to be incremental; empty otherwise.
    :param parameters: of the statements about its stored differences.
    """

    comparison: Comparison
    sizes: Sizes
    found: Mapping[str, int]
    summary: Summary
    gone: GoneAtOnce | None
    near_keys: int
    why_full: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class TableReports:
    """Makes the reports of the tables of one reconciliation, in its transaction.

    :param polled: by kind, until when Enerflo's list was read as a whole.
    :param fold: the collation whose case rules apply (:func:`enerflo_sync.crm.keys.case_folding`).
    """

    connection: sa.Connection
    config: SyncConfig
    account: str
    now: datetime
    polled: Mapping[str, datetime]
    fold: str

    def of(self, table: ComparedTable) -> TableReport:
        """Return the report of a table."""
        comparison, found, summary = table.comparison, table.found, table.summary
        waiting = 0
        if summary.by_cause:
            waiting = count_waiting(self.connection, comparison, table.parameters)
        in_quarantine = quarantined_records(self.connection, comparison, self.account)
        last = last_arrival(self.connection, comparison.mapping, comparison.live, self.now)
        return TableReport(
            table_name=str(comparison.name),
            kind=str(comparison.kind),
            crm_table=full_name(comparison.mapping),
            mode=str(self.config.mode_of(self.account, comparison.name)),
            enerflo_rows=table.sizes.enerflo,
            crm_rows=table.sizes.crm,
            matched=table.sizes.crm - found["only_crm"] - found["twice_rows"],
            only_enerflo=found["only_enerflo"],
            only_crm=found["only_crm"],
            differing_rows=found["differing"],
            by_cause=summary.by_cause,
            by_field=summary.by_field,
            samples=summary.samples,
            remarks=list(self._remarks(table, in_quarantine, waiting, last)),
            mirror_as_of=self.polled.get(comparison.kind),
            overdue=is_overdue(self.config, self.account, comparison.kind, self.polled, self.now),
            unreadable=unreadable_installs(
                self.connection, self.config, self.account, comparison.kind, self.now
            ),
            quarantined=in_quarantine,
            unlinked=table.sizes.unlinked,
            near_keys=table.near_keys,
            late_copy=late_copy(comparison, last),
            waiting=waiting,
        )

    def _remarks(
        self, table: ComparedTable, in_quarantine: int, waiting: int, last: LastArrival | None
    ) -> Iterator[str]:
        comparison, parameters = table.comparison, table.parameters
        if table.gone is not None:
            yield table.gone.sentence
        yield from size_remarks(comparison, table.sizes, self.polled.get(comparison.kind))
        yield from age_remarks(comparison, self.polled)
        yield from unread_remarks(self.connection, comparison, self.account)
        yield from quarantine_remarks(in_quarantine)
        if table.why_full:
            yield table.why_full
        yield from duplicate_remarks(table.found)
        yield from milestone_remarks(self.connection, comparison, parameters)
        yield from chosen_remarks(self.connection, comparison, table.sizes, last, parameters)
        yield from unclaimed_remarks(
            self.connection, self.config, self.account, comparison.name, comparison.live
        )
        yield from late_remarks(self.connection, comparison, parameters)
        yield from waiting_remarks(waiting)
        yield from stranger_remarks(self.connection, comparison, parameters, self.fold)
