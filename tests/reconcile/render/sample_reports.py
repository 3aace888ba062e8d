"""Hand-made reports that the rendering tests share; every figure in them adds up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import yaml

from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.mirror.witness_report import WitnessFigures, WitnessReport
from enerflo_sync.reconcile.report import (
    Cause,
    Difference,
    FieldCount,
    LateCopy,
    ReconciliationReport,
    Scope,
    TableReport,
    TrendPoint,
)

FINISHED = datetime(2025, 3, 3, 14, 5, 9, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script> & \"quotes\""
LONG = "Roof is clay tile. " * 12


def installs() -> TableReport:
    """A table with most kinds of difference."""
    key = "enerflo_install_id"
    return TableReport(
        table_name="installs",
        crm_table="crm.installs",
        mode="report",
        enerflo_rows=1_204,
        crm_rows=1_199,
        matched=1_190,
        only_enerflo=14,
        only_crm=9,
        differing_rows=31,
        by_cause={
            Cause.UNEXPLAINED: 8,
            Cause.MISSING_IN_CRM: 12,
            Cause.QUARANTINED: 2,
            Cause.DELETED_IN_ENERFLO: 6,
            Cause.MISSING_IN_ENERFLO: 3,
            Cause.IN_FLIGHT: 11,
            Cause.EQUAL_AFTER_NORMALISATION: 9,
            Cause.VOIDED: 5,
        },
        by_field=[
            FieldCount("status", 15, {Cause.UNEXPLAINED: 4, Cause.IN_FLIGHT: 6, Cause.VOIDED: 5}),
            FieldCount("customer_name", 9, {Cause.EQUAL_AFTER_NORMALISATION: 9}),
            FieldCount("panel_count", 7, {Cause.UNEXPLAINED: 2, Cause.IN_FLIGHT: 5}),
            FieldCount("contract_amount", 2, {Cause.UNEXPLAINED: 2}),
        ],
        samples=[
            Difference("installs", {key: 10482}, "status", "On Hold", "In Progress", Cause.UNEXPLAINED),
            Difference("installs", {key: 10511}, "panel_count", 24, 22, Cause.UNEXPLAINED),
            Difference("installs", {key: 10533}, "contract_amount", "41250.00", None, Cause.UNEXPLAINED),
            Difference(
                "installs",
                {key: 10533},
                "customer_name",
                "J… D…",
                "J… D… ",
                Cause.EQUAL_AFTER_NORMALISATION,
                masked=True,
            ),
            Difference("installs", {key: 10600}, None, None, None, Cause.MISSING_IN_CRM),
            Difference("installs", {key: 9007}, None, None, None, Cause.DELETED_IN_ENERFLO),
        ],
    )


def milestones() -> TableReport:
    """A table with a composite key."""
    key = {"enerflo_install_id": 10482, "milestone_id": 31}
    return TableReport(
        table_name="milestones",
        crm_table="crm.milestones",
        mode="report",
        enerflo_rows=2_408,
        crm_rows=2_398,
        matched=2_398,
        only_enerflo=10,
        only_crm=0,
        differing_rows=7,
        by_cause={Cause.UNEXPLAINED: 4, Cause.MISSING_IN_CRM: 10, Cause.IN_FLIGHT: 3},
        by_field=[
            FieldCount("completed_at", 6, {Cause.UNEXPLAINED: 4, Cause.IN_FLIGHT: 2}),
            FieldCount("due_at", 1, {Cause.IN_FLIGHT: 1}),
        ],
        samples=[
            Difference("milestones", key, "completed_at", "2025-02-27T00:00:00Z", None, Cause.UNEXPLAINED),
            Difference(
                "milestones",
                key,
                "due_at",
                "2025-03-10T00:00:00Z",
                "2025-03-12T00:00:00Z",
                Cause.IN_FLIGHT,
            ),
        ],
    )


def notes() -> TableReport:
    """A table with text that tries to be something else."""
    return TableReport(
        table_name="notes",
        crm_table="crm.notes",
        mode="report",
        enerflo_rows=689,
        crm_rows=689,
        matched=689,
        only_enerflo=0,
        only_crm=0,
        differing_rows=4,
        by_cause={Cause.EQUAL_AFTER_NORMALISATION: 4},
        by_field=[FieldCount("body", 4, {Cause.EQUAL_AFTER_NORMALISATION: 4})],
        samples=[
            Difference("notes", {"note_id": "n-1"}, "body", HOSTILE, "", Cause.EQUAL_AFTER_NORMALISATION),
            Difference(
                "notes",
                {"note_id": "n-2"},
                "body",
                LONG + "Gate code follows.",
                LONG + "gate code follows. " + LONG,
                Cause.EQUAL_AFTER_NORMALISATION,
            ),
            Difference(
                "notes",
                {"note_id": "ñ-3"},
                "body",
                "Grüße, 屋根は瓦です 🙂\n\x1b[31mred\x1b[0m",
                "Gru\u0308ße\u00a0\u202eabc",
                Cause.EQUAL_AFTER_NORMALISATION,
            ),
            Difference(
                "notes",
                {"note_id": "n-4"},
                "body",
                "[212 characters]",
                "[214 characters]",
                Cause.EQUAL_AFTER_NORMALISATION,
                masked=True,
            ),
        ],
        remarks=["crm.notes has no updated_at column: the run reads every row of it."],
    )


def trend(runs: int) -> list[TrendPoint]:
    """Earlier runs, six hours apart."""
    return [
        TrendPoint(
            reconciliation_id=f"run-{index:03d}",
            finished_at=FINISHED - timedelta(hours=6 * (runs - index)),
            scope=Scope.FULL if index % 4 == 0 else Scope.INCREMENTAL,
            differences=96 - 2 * index + (index * 7) % 11,
            unexplained=max(0, 19 - index + (index * 5) % 7),
        )
        for index in range(runs)
    ]


def typical() -> ReconciliationReport:
    """A report with unexplained differences over budget."""
    return ReconciliationReport(
        reconciliation_id="2025-03-03T14:05:06Z-4f1c",
        account="default",
        mode="report",
        scope=Scope.FULL,
        started_at=FINISHED - timedelta(seconds=3.4),
        finished_at=FINISHED,
        config_hash="9b2d7f31c0aa4e5d8f60",
        mirror_as_of=FINISHED - timedelta(minutes=12, seconds=3.4),
        budget=0,
        tables=[installs(), milestones(), notes()],
        trend=trend(22),
    )


def witnesses() -> WitnessReport:
    """Poll and webhooks, a fortnight with something of everything."""
    day = FINISHED.date()
    total = WitnessFigures(None, None, 1_240, 1_196, 1_182, 31, 40, 2, 9, 7, 4.2, 61.5, 9_400.0)
    installs = WitnessFigures("update_install", None, 1_000, 970, 960, 30, 28, 1, 8, 3, 4.0, 58.0, 9_400.0)
    notes = WitnessFigures("new_install_note", None, 240, 226, 222, 1, 12, 1, 1, 4, 5.5, 70.0, 130.0)
    days = [
        WitnessFigures("update_install", day, 1_000, 970, 960, 30, 28, 1, 8, 3, 4.0, 58.0, 9_400.0),
        WitnessFigures("new_install_note", day, 240, 226, 222, 1, 12, 1, 1, 4, 5.5, 70.0, 130.0),
    ]
    since = FINISHED - timedelta(days=13)
    return WitnessReport("default", since, FINISHED, since, total, [installs, notes], days)


def witnessed() -> ReconciliationReport:
    """An account that receives webhooks."""
    return msgspec.structs.replace(agreed(), witnesses=witnesses())


def empty_table(name: str, **changes: object) -> TableReport:
    """A table without rows, with fields replaced."""
    table = TableReport(name, f"crm.{name}", "report", 0, 0, 0, 0, 0, 0, {}, [], [])
    return msgspec.structs.replace(table, **changes)


def no_tables() -> ReconciliationReport:
    """No mapped table is compared."""
    return msgspec.structs.replace(typical(), tables=[], trend=[], mirror_as_of=None)


def no_rows() -> ReconciliationReport:
    """Tables are mapped, and empty on both sides."""
    return msgspec.structs.replace(
        typical(), tables=[empty_table("installs"), empty_table("notes")], trend=[]
    )


def never_polled() -> ReconciliationReport:
    """The CRM has rows, and the mirror never took in a poll."""
    table = empty_table("installs", crm_rows=40, only_crm=40, by_cause={Cause.MISSING_IN_ENERFLO: 40})
    return msgspec.structs.replace(typical(), mirror_as_of=None, tables=[table], trend=[])


def empty_crm_side() -> ReconciliationReport:
    """Every difference has a cause, and still nothing met on both sides in one table."""
    table = empty_table(
        "notes",
        enerflo_rows=9_000,
        only_enerflo=9_000,
        by_cause={Cause.MISSING_IN_CRM: 9_000},
        remarks=["crm.notes is empty."],
    )
    return msgspec.structs.replace(typical(), tables=[_agreeing("installs", 1_200), table], trend=trend(1))


def _agreeing(name: str, rows: int) -> TableReport:
    return empty_table(name, enerflo_rows=rows, crm_rows=rows, matched=rows)


def agreed() -> ReconciliationReport:
    """Rows on both sides, and no difference."""
    past = [msgspec.structs.replace(p, differences=0, unexplained=0) for p in trend(5)]
    return msgspec.structs.replace(typical(), tables=[_agreeing("installs", 1_200)], trend=past)


def overdue() -> ReconciliationReport:
    """Rows that agree with what Enerflo said four days ago."""
    as_of = FINISHED - timedelta(days=4, hours=3)
    table = msgspec.structs.replace(_agreeing("installs", 1_200), mirror_as_of=as_of, overdue=True)
    return msgspec.structs.replace(agreed(), mirror_as_of=as_of, tables=[table])


def stopped_copy() -> ReconciliationReport:
    """Rows that agree with what a copy of the CRM said two days ago."""
    late = LateCopy(FINISHED - timedelta(days=2), 6)
    table = msgspec.structs.replace(_agreeing("installs", 1_200), late_copy=late)
    return msgspec.structs.replace(agreed(), tables=[table])


def explained() -> ReconciliationReport:
    """Differences, each with a cause."""
    return msgspec.structs.replace(typical(), tables=[notes()])


def tolerated() -> ReconciliationReport:
    """Unexplained differences that the budget allows."""
    return msgspec.structs.replace(typical(), budget=20)


def every_cause() -> ReconciliationReport:
    """All causes at once, with counts from one to billions, in more fields than a chart draws."""
    causes = list(Cause)
    fields = [
        FieldCount(f"field_{index:02d}", 3, {causes[index % 15]: 2, causes[(index + 4) % 15]: 1})
        for index in range(24)
    ]
    by_cause = {
        cause: 9**index + sum(field.by_cause.get(cause, 0) for field in fields)
        for index, cause in enumerate(Cause)
    }
    table = TableReport(
        table_name="change_orders",
        crm_table="warehouse.a_schema_with_a_long_name.change_orders_of_the_company",
        mode="both",
        enerflo_rows=23_876_543_210,
        crm_rows=23_876_543_000,
        matched=23_876_000_000,
        only_enerflo=543_210,
        only_crm=543_000,
        differing_rows=12_345_678,
        by_cause=by_cause,
        by_field=fields,
        samples=[
            Difference("change_orders", {"enerflo_change_order_id": i}, "status", "signed", "open", cause)
            for i, cause in enumerate(Cause)
        ],
    )
    return msgspec.structs.replace(typical(), account="west coast", mode="both", tables=[table])


def all_differences(report: ReconciliationReport) -> Iterator[Difference]:
    """The samples again, as the stream that the warehouse would give."""
    for table in report.tables:
        yield from table.samples


def mapping_of(key: str, fields: str = "status: {enerflo: status_name, type: text}") -> TableMapping:
    """Return a mapping of the table crm.installs.

    :param key: the key as sync.yaml has it; :param fields: the fields, one a line.
    """
    options = {"crm_table": "crm.installs", "key": yaml.safe_load(key), "fields": yaml.safe_load(fields)}
    return TableMapping.model_validate(options)


REPORTS = {
    "typical": typical,
    "no_tables": no_tables,
    "no_rows": no_rows,
    "never_polled": never_polled,
    "empty_crm_side": empty_crm_side,
    "agreed": agreed,
    "overdue": overdue,
    "stopped_copy": stopped_copy,
    "explained": explained,
    "tolerated": tolerated,
    "every_cause": every_cause,
    "witnessed": witnessed,
}
