"""A reconciliation's result as one typed object, from which every output is rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from enerflo_sync.counted import count_of
from enerflo_sync.mirror.witness_report import WitnessReport


class Cause(StrEnum):
    """Why two sides differ; if several causes fit, the first in this order counts (design §5, vocabulary)."""

    QUARANTINED = "quarantined"
    DUPLICATE_IDENTITY = "duplicate_identity"
    ON_ITS_WAY = "on_its_way"
    DELETED_IN_ENERFLO = "deleted_in_enerflo"
    GONE_AT_ONCE = "gone_at_once"
    DELETED_IN_CRM = "deleted_in_crm"
    VOIDED = "voided"
    MISSING_IN_CRM = "missing_in_crm"
    MISSING_IN_ENERFLO = "missing_in_enerflo"
    EQUAL_AFTER_NORMALISATION = "equal_after_normalisation"
    IN_FLIGHT = "in_flight"
    PLANNED = "planned"
    POLICY = "policy"
    LEFT_APART = "left_apart"
    CONFLICT = "conflict"
    EDITED_IN_CRM = "edited_in_crm"
    EDITED_IN_ENERFLO = "edited_in_enerflo"
    UNEXPLAINED = "unexplained"


class Scope(StrEnum):
    """Whether every row was compared, or only rows that changed since the previous run."""

    FULL = "full"
    INCREMENTAL = "incremental"


class Difference(msgspec.Struct, frozen=True):
    """One differing field, or one record that only one side has (``field`` is None).

    ``key`` holds the CRM table's key columns. Values are JSON values: text, numbers as text where they
    are decimals, times as ISO 8601 in UTC. ``masked`` says that personal data in them was replaced; a
    key's parts are masked by themselves. ``hint`` says which spelling the two values seem to differ by (case,
    rounded, constant_offset …), or else which side's record changed later; it explains nothing, and the cause
    stays what it is.
    """

    table_name: str
    key: Mapping[str, Any]
    field: str | None
    enerflo_value: Any
    crm_value: Any
    cause: Cause
    masked: bool = False
    hint: str | None = None


class StoredDifference(Difference, frozen=True):
    """A difference as it is stored; ``since`` is when a reconciliation first found it, None if unknown."""

    since: datetime | None = None


class FieldCount(msgspec.Struct, frozen=True):
    """How many rows differ in one field, and why; ``hints`` counts seeming differences of spelling."""

    field: str
    differences: int
    by_cause: Mapping[Cause, int]
    hints: Mapping[str, int] = {}


class LateCopy(msgspec.Struct, frozen=True):
    """A copy of which no row arrived for longer than the mapping says (``arrives_within_hours``).

    :param since: when the newest row arrived; None if no row says when it did.
    """

    since: datetime | None
    hours: float


class TableReport(msgspec.Struct, frozen=True):
    """One mapped table: sizes first, then one-sided rows, then fields by count, then samples."""

    table_name: str
    crm_table: str
    mode: str
    enerflo_rows: int
    crm_rows: int
    matched: int
    only_enerflo: int
    only_crm: int
    differing_rows: int
    by_cause: Mapping[Cause, int]
    by_field: Sequence[FieldCount]
    samples: Sequence[Difference]
    # Sentences about the comparison itself: an empty table, no updated_at, unknown status names.
    remarks: Sequence[str] = ()
    # When Enerflo's list of these records was last read as a whole; None if it never was.
    mirror_as_of: datetime | None = None
    # Whether the mirror is out of date: two polls (schedule.poll) were due since then, the second at least an
    # hour ago, and neither read the list.
    overdue: bool = False
    # Installs whose milestones the list omits and whose direct reads failed although two polls were due.
    unreadable: int = 0
    # Records in quarantine: their present values at Enerflo could not be read, and were not compared.
    quarantined: int = 0
    # CRM rows without a key; counted only if the mapping has options for keys, or ignores such rows.
    unlinked: int = 0
    # How many records of ``only_enerflo`` have a CRM row that spells the key differently.
    near_keys: int = 0
    # None if rows of the copy arrive in time, or the mapping does not say how often they have to.
    late_copy: LateCopy | None = None
    # Explained differences that the last plan left to a person: it asks, or the change could not be made.
    waiting: int = 0
    # The kind of Enerflo's records in this table; several tables may have one kind. Empty in older reports.
    kind: str = ""


class GoneAtOnce(msgspec.Struct, frozen=True):
    """Rows of a CRM table that vanished, or were marked as deleted, all at once; no deletion is believed yet.

    :param gone: by how many rows the table has fallen below the believed number.
    :param rows: how many living rows the table has.
    :param since: when the table was last seen with all its rows.
    :param marked: how many rows are marked as deleted now; None if the mapping declares no mark.
    """

    table_name: str
    crm_table: str
    gone: int
    rows: int
    since: datetime
    marked: int | None = None

    @property
    def sentence(self) -> str:
        """Return what happened in one sentence, for a report and for a plan."""
        return (
            f"{count_of(self.gone, 'row')} of {self.table_name} {'is' if self.gone == 1 else 'are'} gone"
            f" or marked as deleted since"
            f" {self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC: a copy that is being re-synced?"
        )


class TrendPoint(msgspec.Struct, frozen=True):
    """One earlier reconciliation, for the chart of the trend."""

    reconciliation_id: str
    finished_at: datetime
    scope: Scope
    differences: int
    unexplained: int


class ReconciliationReport(msgspec.Struct, frozen=True):
    """The whole result. ``unexplained`` is the headline; ``budget`` is how many of them are allowed."""

    reconciliation_id: str
    account: str
    mode: str
    scope: Scope
    started_at: datetime
    finished_at: datetime
    config_hash: str
    # Until when all compared lists were read as a whole; None if one never was, so that equality is unproven.
    mirror_as_of: datetime | None
    budget: int
    tables: Sequence[TableReport]
    trend: Sequence[TrendPoint] = ()
    # Which changes poll and webhooks saw; None if the account never received a webhook.
    witnesses: WitnessReport | None = None
    # When every row was last compared; sentences about the report as a whole.
    last_full_at: datetime | None = None
    remarks: Sequence[str] = ()
    # Tables whose rows vanished all at once, tables with ``reconcile: false`` included.
    gone_at_once: Sequence[GoneAtOnce] = ()

    @property
    def differences(self) -> int:
        """Return the number of differences of every cause."""
        return sum(sum(table.by_cause.values()) for table in self.tables)

    @property
    def overdue_tables(self) -> Sequence[TableReport]:
        """Return the tables whose list at Enerflo was not read when due, so that it may have changed."""
        return [table for table in self.tables if table.overdue or table.unreadable]

    @property
    def late_copies(self) -> Sequence[TableReport]:
        """Return the tables that are copies and got no row in time, so that the CRM may say more by now."""
        return [table for table in self.tables if table.late_copy is not None]

    @property
    def unexplained(self) -> int:
        """Return the number of differences that no rule explains."""
        return sum(table.by_cause.get(Cause.UNEXPLAINED, 0) for table in self.tables)

    @property
    def in_flight(self) -> int:
        """Return the number of differences that are too young to be judged."""
        return sum(table.by_cause.get(Cause.IN_FLIGHT, 0) for table in self.tables)

    @property
    def waiting(self) -> int:
        """Return the number of explained differences that wait for a person."""
        return sum(table.waiting for table in self.tables)

    @property
    def quarantined(self) -> int:
        """Return the number of records of which what Enerflo says now could not be read."""
        # The same records stand in quarantine for each table of one kind.
        return sum({table.kind: table.quarantined for table in self.tables}.values())

    @property
    def unreadable(self) -> int:
        """Return the number of installs whose milestones could not be read although it was due."""
        return max((table.unreadable for table in self.tables), default=0)

    @property
    def within_budget(self) -> bool:
        """Return whether the mirror was polled and the unexplained differences are within the budget."""
        return self.mirror_as_of is not None and self.unexplained <= self.budget


def known_as_of(tables: Sequence[TableReport]) -> datetime | None:
    """Return until when all compared lists were read as a whole; None if one of them never was."""
    moments = [table.mirror_as_of for table in tables]
    known = [moment for moment in moments if moment is not None]
    return min(known, default=None) if len(known) == len(moments) else None
