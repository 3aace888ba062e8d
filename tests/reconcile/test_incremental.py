"""An incremental run finds exactly what a full one finds, and looks at what moved only."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sync.reconcile.report import Scope
from enerflo_sync.reconcile.store import forget_attempt
from enerflo_sync.warehouse.runs import RunReport, RunState, finish_run, start_run

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
IDS = st.integers(1, 4)
STATUSES = st.sampled_from(["In progress", "IN PROGRESS", "Completed", "Voided"])
COUNTS = st.integers(19, 21)
TIMES = st.sampled_from(["now", "none"])

CHANGES = st.one_of(
    st.tuples(st.just("mirror_install"), IDS, STATUSES, COUNTS),
    st.tuples(st.just("mirror_milestone"), IDS, st.integers(1, 2), st.sampled_from("AB")),
    st.tuples(st.just("mirror_note"), IDS, IDS, st.sampled_from(["x", " x", "y"])),
    st.tuples(st.just("tombstone"), st.sampled_from(["installs", "milestones", "notes"]), IDS, st.none()),
    st.tuples(st.just("crm_install"), IDS, STATUSES, COUNTS, TIMES),
    st.tuples(st.just("crm_milestone"), IDS, st.integers(1, 2), st.sampled_from("AB"), TIMES),
    st.tuples(
        st.just("crm_note"), st.sampled_from("abcd"), st.none() | IDS, st.sampled_from("xy"), IDS, TIMES
    ),
    st.tuples(st.just("crm_delete"), st.sampled_from(["installs", "milestones", "notes"]), IDS, st.none()),
    st.tuples(
        st.just("quarantine"), st.sampled_from(["installs", "milestones", "notes"]), IDS, st.booleans()
    ),
)
ROUNDS = st.lists(st.tuples(st.integers(2, 45), st.lists(CHANGES, max_size=6)), min_size=2, max_size=5)

UPSERTS = {
    "mirror_install": """insert into enerflo.installs
        (account, install_id, status_name, panel_count, observed_at, observed_by)
        values ('default', :a, :b, :c, :now, 'poll') on conflict (account, install_id)
        do update set status_name = :b, panel_count = :c, observed_at = :now, deleted_at = null""",
    "mirror_milestone": """insert into enerflo.milestones
        (account, install_id, milestone_id, title, observed_at, observed_by)
        values ('default', :a, :b, :c, :now, 'poll') on conflict (account, install_id, milestone_id)
        do update set title = :c, observed_at = :now, deleted_at = null""",
    "mirror_note": """insert into enerflo.notes (account, note_id, install_id, body, observed_at, observed_by)
        values ('default', :a, :b, :c, :now, 'poll') on conflict (account, note_id)
        do update set install_id = :b, body = :c, observed_at = :now, deleted_at = null""",
    "crm_install": """insert into crm.installs (enerflo_install_id, status, panel_count, updated_at)
        values (:a, :b, :c, :d) on conflict (enerflo_install_id)
        do update set status = :b, panel_count = :c, updated_at = :d""",
    "crm_milestone": """insert into crm.milestones (enerflo_install_id, milestone_id, title, updated_at)
        values (:a, :b, :c, :d) on conflict (enerflo_install_id, milestone_id)
        do update set title = :c, updated_at = :d""",
    "crm_note": """insert into crm.notes (note_id, enerflo_note_id, body, enerflo_install_id, updated_at)
        values (:a, :b, :c, :d, :e) on conflict (note_id)
        do update set enerflo_note_id = :b, body = :c, enerflo_install_id = :d, updated_at = :e""",
}
CRM_DELETE = {
    "installs": "delete from crm.installs where enerflo_install_id = :n",
    "milestones": "delete from crm.milestones where enerflo_install_id = :n",
    "notes": "delete from crm.notes where note_id = (array['a', 'b', 'c', 'd'])[:n]",
}
OWN_KEY = {"installs": "install_id", "milestones": "install_id", "notes": "note_id"}


def change(connection: sa.Connection, now: datetime, kind: str, *values: Any) -> None:
    if kind in UPSERTS:
        moments = {"now": now, "none": None}
        values = tuple(moments[v] if v in ("now", "none") else v for v in values)
        parameters = dict(zip("abcde", values, strict=False)) | {"now": now}
        connection.execute(
            sa.text(UPSERTS[kind]), {k: v for k, v in parameters.items() if f":{k}" in UPSERTS[kind]}
        )
    elif kind == "tombstone":
        table, number, _ = values
        query = (
            f"update enerflo.{table} set deleted_at = :now where {OWN_KEY[table]} = :n and deleted_at is null"
        )
        connection.execute(sa.text(query), {"n": number, "now": now})
    elif kind == "crm_delete":
        table, number, _ = values
        connection.execute(sa.text(CRM_DELETE[table]), {"n": number})
    else:
        table, number, is_open = values
        key = {"install_id": number, "milestone_id": 1} if table == "milestones" else {OWN_KEY[table]: number}
        connection.execute(
            sa.text(
                "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
                " last_seen_at, count, state, table_name, key) values ('default', :item, 'record', 'r', 'f',"
                " :now, :now, 1, :state, :table, cast(:key as jsonb))"
                " on conflict (account, item_id) do update set state = :state"
            ),
            {
                "item": f"{table}{number}",
                "now": now,
                "state": "open" if is_open else "dismissed",
                "table": table,
                "key": json.dumps(key),
            },
        )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rounds=ROUNDS)
def test_an_incremental_run_stores_what_a_full_run_stores(sides: TwoSides, rounds: list[Any]) -> None:
    sides.sql(
        "truncate enerflo.installs, enerflo.milestones, enerflo.notes, crm.installs, crm.milestones, crm.notes,"
        " sync.quarantine, sync.reconciliations, sync.differences"
    )
    now = NOW
    for number, (minutes, changes) in enumerate(rounds):
        now += timedelta(minutes=minutes)
        with sides.engine.begin() as connection:
            for one in changes:
                change(connection, now - timedelta(minutes=1), *one)
        incremental = sides.reconcile(now, reconciliation_id=f"incremental-{number}")
        full = sides.reconcile(now, reconciliation_id="full", full=True)
        assert sides.stored(incremental) == sides.stored(full)
        for mine, whole in zip(incremental.tables, full.tables, strict=True):
            for name in ("enerflo_rows", "crm_rows", "matched", "only_enerflo", "only_crm", "differing_rows"):
                assert getattr(mine, name) == getattr(whole, name), name
            assert (mine.by_cause, mine.by_field, mine.samples) == (
                whole.by_cause,
                whole.by_field,
                whole.samples,
            )
        assert incremental.scope is (Scope.INCREMENTAL if number else Scope.FULL)
        with sides.engine.begin() as connection:
            forget_attempt(connection, "default", "full")


def short_lookback(sides: TwoSides, folder: Path) -> None:
    text = sides.config.file.read_text()
    sides.with_config(text + "reconcile: {lookback_minutes: 1, in_flight_minutes: 10}\n", folder)


@pytest.fixture(autouse=True)
def _short_lookback(sides: TwoSides, tmp_path_factory: pytest.TempPathFactory) -> None:
    # With the shipped lookback a test's few minutes would all be looked at again.
    short_lookback(sides, tmp_path_factory.mktemp("config"))


def test_a_difference_grows_out_of_in_flight_although_nothing_moved(sides: TwoSides) -> None:
    sides.install(1, crm_panel_count=1, crm_updated_at=NOW)
    assert [cause for *_, cause in sides.causes(sides.reconcile(NOW + timedelta(minutes=5)))] == ["in_flight"]
    later = sides.reconcile(NOW + timedelta(minutes=11))
    assert later.scope is Scope.INCREMENTAL
    assert [cause for *_, cause in sides.causes(later)] == ["unexplained"]


def test_a_row_that_vanished_from_the_crm_is_found_without_a_trace_of_it(sides: TwoSides) -> None:
    for number in (1, 2, 3):
        sides.install(number)
        sides.mirror("notes", note_id=number, install_id=1, body="Hi")
        sides.crm("notes", note_id=f"n{number}", enerflo_note_id=number, enerflo_install_id=1, body="Hi")
    assert sides.reconcile(NOW).differences == 0
    sides.sql("delete from crm.installs where enerflo_install_id = 2")
    sides.sql("delete from crm.notes where note_id = 'n3'")
    later = sides.reconcile(NOW + timedelta(hours=1))
    assert later.scope is Scope.INCREMENTAL
    assert sides.causes(later) == [
        ("installs", {"enerflo_install_id": 2}, None, "missing_in_crm"),
        ("notes", {"enerflo_note_id": 3}, None, "missing_in_crm"),
    ]


def test_by_a_column_a_row_that_did_not_move_is_not_looked_at_again(sides: TwoSides, tmp_path: Path) -> None:
    text = sides.config.file.read_text()
    found_by = "    updated_at: updated_at\n    updated_at_set_at_commit: true\n"
    sides.with_config(text.replace("    updated_at: updated_at\n", found_by), tmp_path)
    sides.install(1)
    sides.reconcile(NOW)
    sides.sql("update crm.installs set panel_count = 99")
    assert sides.reconcile(NOW + timedelta(hours=1)).differences == 0
    assert sides.reconcile(NOW + timedelta(hours=2), full=True).differences == 1


def test_what_a_long_poll_saw_before_the_last_run_and_committed_after_it_is_looked_at(
    sides: TwoSides,
) -> None:
    sides.install(1)
    started = NOW - timedelta(hours=2)
    sides.insert(
        "sync.runs", account="default", run_id="long", job="poll", state="failed", started_at=started
    )
    sides.reconcile(NOW)
    sides.sql(
        "update enerflo.installs set panel_count = 1, observed_at = :seen", seen=NOW - timedelta(hours=1)
    )
    assert sides.reconcile(NOW + timedelta(hours=1)).differences == 1


@pytest.mark.parametrize("ended", [True, False])
def test_what_the_first_try_of_a_poll_committed_late_is_looked_at_although_it_was_tried_again(
    sides: TwoSides, ended: bool
) -> None:
    """A retried task of Airflow carries the run id of its first try, and finds nothing left to write."""
    sides.install(1)
    tries = [NOW - timedelta(hours=2), NOW + timedelta(minutes=30)]
    with sides.engine.begin() as connection:
        start_run(connection, "default", "poll", "long", tries[0])
    sides.reconcile(NOW)
    sides.sql(
        "update enerflo.installs set panel_count = 1, observed_at = :seen", seen=NOW - timedelta(hours=1)
    )
    with sides.engine.begin() as connection:
        start_run(connection, "default", "poll", "long", tries[1])
        if ended:
            report = RunReport(
                run_id="long", account="default", job="poll", state=RunState.OK, started_at=tries[1]
            )
            finish_run(connection, msgspec.structs.replace(report, finished_at=tries[1]))
    assert sides.reconcile(NOW + timedelta(hours=1)).differences == 1


def test_a_run_of_the_same_id_days_later_is_another_run(sides: TwoSides) -> None:
    with sides.engine.begin() as connection:
        for days in (0, 2):
            start_run(connection, "default", "poll", "again", NOW + timedelta(days=days))
        began = connection.scalar(sa.text("select started_at from sync.runs"))
    assert began == NOW + timedelta(days=2)


def test_an_install_that_is_voided_later_explains_its_milestones_that_did_not_move(sides: TwoSides) -> None:
    sides.install(1)
    sides.crm("milestones", enerflo_install_id=1, milestone_id=5)
    assert [cause for *_, cause in sides.causes(sides.reconcile(NOW))] == ["missing_in_enerflo"]
    seen = NOW + timedelta(minutes=30)
    sides.sql("update enerflo.installs set status_name = 'Voided', observed_at = :seen", seen=seen)
    causes = sides.causes(sides.reconcile(NOW + timedelta(hours=1)))
    assert ("milestones", {"enerflo_install_id": 1, "milestone_id": 5}, None, "voided") in causes


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda sides: None, ""),
        (
            lambda sides: sides.sql("alter table crm.installs alter panel_count type numeric"),
            "columns changed",
        ),
        (lambda sides: sides.sql("delete from sync.differences"), "no longer stored"),
        (lambda sides: sides.sql("update sync.reconciliations set config_hash = 'x'"), "mapping changed"),
        (lambda sides: sides.sql("delete from sync.reconciliations"), "first reconciliation"),
    ],
)
def test_without_solid_ground_everything_is_compared_and_the_report_says_why(
    sides: TwoSides, prepare: Any, reason: str
) -> None:
    sides.polled()
    sides.install(1, crm_panel_count=1)
    sides.reconcile(NOW)
    prepare(sides)
    report = sides.reconcile(NOW + timedelta(hours=1))
    assert report.scope is (Scope.FULL if reason else Scope.INCREMENTAL)
    assert reason in " ".join(report.tables[0].remarks)
    assert bool(reason) is any("Compared in full" in remark for remark in report.tables[0].remarks)


def test_a_table_without_updated_at_is_compared_by_what_changed_too(sides: TwoSides, tmp_path: Path) -> None:
    text = sides.config.file.read_text().replace("    updated_at: updated_at\n", "")
    sides.with_config(text, tmp_path)
    sides.install(1)
    sides.reconcile(NOW)
    sides.sql("update crm.installs set panel_count = 99")
    report = sides.reconcile(NOW + timedelta(hours=1))
    assert (report.differences, report.scope) == (1, Scope.INCREMENTAL)
