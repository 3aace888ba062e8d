"""What a reconciliation found, as one typed object that every output is rendered from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from enerflo_sync.mirror.witness_report import WitnessReport


class Cause(StrEnum):
    """Why two sides differ; where several fit, the first in this order (design §5, vocabulary)."""

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
    """Whether every row was compared, or only what changed on either side since the run before."""

    FULL = "full"
    INCREMENTAL = "incremental"


class Difference(msgspec.Struct, frozen=True):
    """One differing field, or one record that stands on one side only (``field`` is None).

    ``key`` holds the CRM table's key columns. Values are JSON values: text, numbers as text where they
    are decimals, times as ISO 8601 in UTC. ``masked`` says that personal data in them was replaced; a
    key's parts are masked by themselves. ``hint`` says which spelling the two values seem to differ by (case,
    rounded, constant_offset …); it explains nothing, and the cause stays what it is.
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
    """A difference as it is stored; ``since`` is when a reconciliation found it first, None if not known."""

    since: datetime | None = None


class FieldCount(msgspec.Struct, frozen=True):
    """How many rows differ in one field, and why; ``hints`` counts those that seem to be mere spelling."""

    field: str
    differences: int
    by_cause: Mapping[Cause, int]
    hints: Mapping[str, int] = {}


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
    # Up to when Enerflo's list of these records was read whole; None when it never was.
    mirror_as_of: datetime | None = None
    # By schedule.poll two polls were due since then, the second an hour ago, and none read the list whole.
    overdue: bool = False
    # CRM rows without a key, where the mapping says how keys are read, or that such rows do not count.
    unlinked: int = 0
    # Of ``only_enerflo``: records that a CRM row names in another spelling of the key.
    near_keys: int = 0


class GoneAtOnce(msgspec.Struct, frozen=True):
    """Rows of a CRM table that went, or were marked as deleted, all at once: no deletion is believed yet.

    :param gone: how many rows less the table has than were believed last.
    :param rows: how many it has; rows that are marked as deleted are not among them.
    :param since: when the table was seen with its rows for the last time.
    :param marked: how many rows are marked as deleted by now; None where the mapping knows no mark.
    """

    table_name: str
    crm_table: str
    gone: int
    rows: int
    since: datetime
    marked: int | None = None

    @property
    def sentence(self) -> str:
        """Return what happened, for a report and for a plan."""
        return (
            f"{self.gone:,} rows of {self.table_name} are gone or marked as deleted since"
            f" {self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC: a copy that is being re-synced?"
        )


class TrendPoint(msgspec.Struct, frozen=True):
    """One earlier reconciliation, for the picture over time."""

    reconciliation_id: str
    finished_at: datetime
    scope: Scope
    differences: int
    unexplained: int


class ReconciliationReport(msgspec.Struct, frozen=True):
    """The whole result. ``unexplained`` is the headline; ``budget`` is how many are allowed."""

    reconciliation_id: str
    account: str
    mode: str
    scope: Scope
    started_at: datetime
    finished_at: datetime
    config_hash: str
    # Up to when every compared list was read whole; None where one never was: not all can be called equal.
    mirror_as_of: datetime | None
    budget: int
    tables: Sequence[TableReport]
    trend: Sequence[TrendPoint] = ()
    # Which changes poll and webhooks saw; None where the account never received a webhook.
    witnesses: WitnessReport | None = None
    # When every row was compared last, and sentences about the report as a whole.
    last_full_at: datetime | None = None
    remarks: Sequence[str] = ()
    # Tables whose rows went all at once; also those that are not compared (reconcile: false).
    gone_at_once: Sequence[GoneAtOnce] = ()

    @property
    def differences(self) -> int:
        """Return the number of differences of every cause."""
        return sum(sum(table.by_cause.values()) for table in self.tables)

    @property
    def overdue_tables(self) -> Sequence[TableReport]:
        """Return the tables of which Enerflo's list was not read when it was due: they may say otherwise."""
        return [table for table in self.tables if table.overdue]

    @property
    def unexplained(self) -> int:
        """Return the number of differences that no rule explains."""
        return sum(table.by_cause.get(Cause.UNEXPLAINED, 0) for table in self.tables)

    @property
    def within_budget(self) -> bool:
        """Return whether the mirror was ever polled and no more is unexplained than allowed."""
        return self.mirror_as_of is not None and self.unexplained <= self.budget
