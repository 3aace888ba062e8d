"""Figures over a whole report that more than one output shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enerflo_sync.reconcile.render.cause_texts import CAUSE_ORDER
from enerflo_sync.reconcile.report import Cause, FieldCount, ReconciliationReport, TableReport

WHOLE_RECORD = "whole record"


@dataclass(frozen=True, slots=True)
class FieldLine:
    """How many differences one field of one table has; with ``field`` None, of whole records."""

    table_name: str
    field: str | None
    differences: int
    by_cause: Mapping[Cause, int]

    @property
    def label(self) -> str:
        """Return the field's name, or the words for records that only one side has."""
        return WHOLE_RECORD if self.field is None else self.field


def compared_rows(report: ReconciliationReport) -> int:
    """Return how many records were compared: on both sides, or on one side only."""
    return sum(table.matched + table.only_enerflo + table.only_crm for table in report.tables)


def matched_rows(report: ReconciliationReport) -> int:
    """Return how many records both sides have."""
    return sum(table.matched for table in report.tables)


def causes_of(report: ReconciliationReport) -> dict[Cause, int]:
    """Return the differences by cause over all tables without zeros, causes that need a person first."""
    totals = {cause: sum(t.by_cause.get(cause, 0) for t in report.tables) for cause in CAUSE_ORDER}
    return {cause: count for cause, count in totals.items() if count}


def in_order(by_cause: Mapping[Cause, int]) -> dict[Cause, int]:
    """Return the same counts without zeros, in the order in which reports list causes."""
    return {cause: by_cause[cause] for cause in CAUSE_ORDER if by_cause.get(cause)}


def field_lines(table: TableReport) -> list[FieldLine]:
    """Return one line per differing field, most differences first.

    Differences of whole records are counted by cause only, in no field. They get a line of their own, so that
    the lines add up to the table's differences.
    """
    lines = [_line(table.table_name, count) for count in table.by_field if count.differences]
    rest = {
        cause: count - sum(line.by_cause.get(cause, 0) for line in lines)
        for cause, count in table.by_cause.items()
    }
    rest = {cause: count for cause, count in rest.items() if count > 0}
    if rest:
        lines.append(FieldLine(table.table_name, None, sum(rest.values()), in_order(rest)))
    return sorted(lines, key=lambda line: (-line.differences, line.label))


def _line(table_name: str, count: FieldCount) -> FieldLine:
    return FieldLine(table_name, count.field, count.differences, in_order(count.by_cause))


def table_differences(table: TableReport) -> int:
    """Return the table's number of differences of every cause."""
    return sum(table.by_cause.values())
