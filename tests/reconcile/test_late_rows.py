"""A change in the CRM is found by the next reconciliation, whatever its time says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sync.reconcile.report import Scope
from enerflo_sync.reconcile.store import forget_attempt
from tests.reconcile.conftest import CONFIG, NOW, TwoSides
from tests.reconcile.test_incremental import CHANGES, COUNTS, IDS, STATUSES, change

LATER = NOW + timedelta(hours=2)
YEARS_AGO = datetime(2020, 2, 2, tzinfo=UTC)
BACK_DATED = st.one_of(
    CHANGES,
    st.tuples(st.just("crm_install"), IDS, STATUSES, COUNTS, st.just(YEARS_AGO)),
    st.tuples(st.just("crm_milestone"), IDS, st.integers(1, 2), st.sampled_from("AB"), st.just(YEARS_AGO)),
    st.tuples(
        *(st.just("crm_note"), st.sampled_from("abcd"), st.none() | IDS, st.sampled_from("xy"), IDS),
        st.just(YEARS_AGO),
    ),
)
ROUNDS = st.lists(st.tuples(st.integers(2, 45), st.lists(BACK_DATED, max_size=6)), min_size=2, max_size=4)
SHORT = "reconcile: {lookback_minutes: 1, in_flight_minutes: 10}\n"

# Whoever writes a row of the copy, the copy itself says when that was.
ARRIVES = """
create function crm.arrive() returns trigger language plpgsql as $$
begin
    new.arrived_at := coalesce(nullif(current_setting('test.now', true), '')::timestamptz, new.arrived_at);
    return new;
end $$;
"""


@pytest.fixture(params=["by transaction", "by kept hashes", "by arrival"])
def copied(request: pytest.FixtureRequest, sides: TwoSides, tmp_path: Path) -> TwoSides:
    """Both sides, whose CRM is a copy that lags, without a lookback that would hide it."""
    text = CONFIG + SHORT
    sides.sql(ARRIVES)
    for table in ("installs", "milestones", "notes"):
        sides.sql(f"alter table crm.{table} add arrived_at timestamptz")
        sides.sql(
            f"create trigger arrive before insert or update on crm.{table} for each row"
            " execute function crm.arrive()"
        )
        if request.param == "by kept hashes":
            # Rows may come and go unwritten.
            sides.sql(f"alter table crm.{table} enable row level security")
    if request.param == "by arrival":
        text = text.replace(
            "    updated_at: updated_at\n", "    updated_at: updated_at\n    arrived_at: arrived_at\n"
        )
    sides.with_config(text, tmp_path)
    return sides


def at(sides: TwoSides, now: datetime, *statements: str, **values: Any) -> None:
    """Change the copy at a moment, in one transaction."""
    with sides.engine.begin() as connection:
        connection.execute(sa.text("select set_config('test.now', :now, true)"), {"now": now.isoformat()})
        for statement in statements:
            connection.execute(sa.text(statement), values)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rounds=ROUNDS)
def test_back_dated_edits_inserts_and_deletions_are_found_as_a_full_run_finds_them(
    copied: TwoSides, rounds: list[Any]
) -> None:
    copied.sql(
        "truncate enerflo.installs, enerflo.milestones, enerflo.notes, crm.installs, crm.milestones, crm.notes,"
        " sync.quarantine, sync.reconciliations, sync.differences, sync.crm_rows, sync.crm_looks"
    )
    now = NOW
    for number, (minutes, changes) in enumerate(rounds):
        now += timedelta(minutes=minutes)
        with copied.engine.begin() as connection:
            moment = {"now": (now - timedelta(minutes=1)).isoformat()}
            connection.execute(sa.text("select set_config('test.now', :now, true)"), moment)
            for one in changes:
                change(connection, now - timedelta(minutes=1), *one)
        incremental = copied.reconcile(now, reconciliation_id=f"incremental-{number}")
        full = copied.reconcile(now, reconciliation_id="full", full=True)
        assert copied.stored(incremental) == copied.stored(full)
        for mine, whole in zip(incremental.tables, full.tables, strict=True):
            for name in ("enerflo_rows", "crm_rows", "matched", "only_enerflo", "only_crm", "differing_rows"):
                assert getattr(mine, name) == getattr(whole, name), name
        assert incremental.scope is (Scope.INCREMENTAL if number else Scope.FULL)
        with copied.engine.begin() as connection:
            forget_attempt(connection, "default", "full")


def test_one_row_less_and_one_more_are_two_differences(copied: TwoSides) -> None:
    for number in (1, 2, 3):
        copied.install(number)
        copied.mirror("milestones", install_id=number, milestone_id=7, title="T")
        copied.crm("milestones", enerflo_install_id=number, milestone_id=7, title="T")
    assert copied.reconcile(NOW).differences == 0
    at(
        copied,
        NOW + timedelta(minutes=5),
        "delete from crm.milestones where enerflo_install_id = 2",
        "delete from crm.installs where enerflo_install_id = 3",
        "insert into crm.milestones (enerflo_install_id, milestone_id, title, updated_at)"
        " values (9, 9, 'T', :old)",
        "insert into crm.installs (enerflo_install_id, updated_at) values (9, :old)",
        old=YEARS_AGO,
    )
    report = copied.reconcile(LATER)
    assert report.scope is Scope.INCREMENTAL
    assert copied.causes(report) == [
        ("installs", {"enerflo_install_id": 3}, None, "missing_in_crm"),
        ("installs", {"enerflo_install_id": 9}, None, "missing_in_enerflo"),
        ("milestones", {"milestone_id": 7, "enerflo_install_id": 2}, None, "missing_in_crm"),
        ("milestones", {"milestone_id": 9, "enerflo_install_id": 9}, None, "missing_in_enerflo"),
    ]


@pytest.mark.parametrize("wrote_before", [True, False])
def test_a_transaction_that_is_longer_than_the_lookback_loses_nothing(
    copied: TwoSides, wrote_before: bool
) -> None:
    copied.install(1)
    copied.install(2)
    began = NOW - timedelta(hours=3)
    with copied.engine.connect() as long:
        long.execute(sa.text("select set_config('test.now', :now, true)"), {"now": began.isoformat()})
        edit = sa.text(
            "update crm.installs set panel_count = 99, updated_at = :at where enerflo_install_id = 1"
        )
        if wrote_before:
            with long.begin_nested():
                long.execute(edit, {"at": began})
        assert copied.reconcile(NOW).differences == 0
        if not wrote_before:
            with long.begin_nested():
                long.execute(edit, {"at": began})
        long.commit()
    report = copied.reconcile(LATER)
    assert report.scope is Scope.INCREMENTAL
    assert [key for _, key, *_ in copied.causes(report)] == [{"enerflo_install_id": 1}]
    assert copied.reconcile(LATER + timedelta(hours=1)).differences == 1


def test_a_row_that_is_linked_to_another_record_leaves_its_old_one_behind(copied: TwoSides) -> None:
    for number in (5, 6):
        copied.mirror("notes", note_id=number, install_id=1, body="Hi")
    copied.crm("notes", note_id="a", enerflo_note_id=5, enerflo_install_id=1, body="Hi")
    assert [key for _, key, *_ in copied.causes(copied.reconcile(NOW))] == [{"enerflo_note_id": 6}]
    at(copied, NOW + timedelta(minutes=5), "update crm.notes set enerflo_note_id = 6")
    assert [key for _, key, *_ in copied.causes(copied.reconcile(LATER))] == [{"enerflo_note_id": 5}]


def test_a_row_that_did_not_change_is_never_seen_to_and_another_spelling_is(
    sides: TwoSides, tmp_path: Path
) -> None:
    sides.with_config(CONFIG + SHORT, tmp_path)
    for table in ("installs", "milestones", "notes"):
        sides.sql(f"alter table crm.{table} enable row level security")
    for number in range(1, 4):
        sides.install(number)
        sides.mirror("milestones", install_id=number, milestone_id=7, title="T", due_at=NOW)
        sides.crm("milestones", enerflo_install_id=number, milestone_id=7, title="T", due_at=NOW)
    sides.reconcile(NOW)
    name = sides.engine.url.database
    # What a value looks like as text is the session's own affair.
    sides.sql(f'alter database "{name}" set extra_float_digits = 0')
    sides.sql(f'alter database "{name}" set intervalstyle = sql_standard')
    sides.engine.dispose()
    sides.reconcile(LATER)
    with sides.engine.connect() as connection:
        seen = sa.text("select count(distinct seen_at), count(*) from sync.crm_rows")
        assert tuple(connection.execute(seen).one()) == (1, 6)
    sides.sql("update crm.installs set status = 'IN PROGRESS' where enerflo_install_id = 2")
    sides.reconcile(LATER + timedelta(hours=1))
    with sides.engine.connect() as connection:
        moved = sa.text("select link from sync.crm_rows where seen_at > :later + interval '1 minute'")
        assert connection.execute(moved, {"later": LATER}).scalars().all() == [["2"]]


@pytest.mark.parametrize("by_hashes", [True, False])
def test_rows_without_a_unique_key_are_seen_together(
    sides: TwoSides, tmp_path: Path, by_hashes: bool
) -> None:
    sides.with_config(CONFIG + SHORT, tmp_path)
    if by_hashes:
        sides.sql("alter table crm.installs enable row level security")
    sides.sql("alter table crm.installs drop constraint installs_pkey")
    sides.install(1)
    assert sides.reconcile(NOW).differences == 0
    # Two rows that are quite alike: neither their number nor their content may hide the other one.
    sides.sql("insert into crm.installs select * from crm.installs")
    report = sides.reconcile(LATER)
    assert sides.causes(report) == [("installs", {"enerflo_install_id": 1}, None, "duplicate_identity")]
    sides.sql("delete from crm.installs where ctid = (select min(ctid) from crm.installs)")
    assert sides.reconcile(LATER + timedelta(hours=1)).differences == 0
