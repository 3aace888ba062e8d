"""What a sweep concludes of each row, whatever was said of it before, and how many missing ones are believed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.mirror.sweep import (
    GUARDED,
    Gone,
    ShrunkSourceError,
    Sweep,
    most_missing,
    tombstone,
)
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.notes import NOTES
from enerflo_sync.resources.resource import SMALLEST_SHRINK

STARTED = datetime(2026, 3, 2, 8, tzinfo=UTC)
NOW = STARTED + timedelta(minutes=1)
SECOND = timedelta(seconds=1)
EARLIER = STARTED - timedelta(hours=1)
LATER = (EARLIER, STARTED, STARTED + SECOND)
KEYS = {"installs": "install_id", "notes": "note_id", "milestones": "milestone_id"}


def put(warehouse: sa.Engine, table: str, **values: Any) -> None:
    row = {"account": "default", "observed_at": EARLIER, "observed_by": "poll", **values}
    places = ", ".join(f":{name}" for name in row)
    with warehouse.begin() as connection:
        connection.execute(sa.text(f"insert into enerflo.{table} ({', '.join(row)}) values ({places})"), row)


def stored(warehouse: sa.Engine, table: str) -> dict[tuple[str, int], tuple[Any, Any]]:
    """Return when each row was absent and deleted, by its account and id."""
    with warehouse.connect() as connection:
        rows = connection.execute(
            sa.text(f"select account, {KEYS[table]}, absent_since, deleted_at from enerflo.{table}")
        )
        return {(account, key): (absent, deleted) for account, key, absent, deleted in rows}


def sweep(
    connection: sa.Connection, seen: list[int], guard: float | None = None, resource: Any = INSTALLS
) -> Gone:
    """Let a walk name ``seen``, and conclude."""
    found = Sweep(connection, resource, "default", guard)
    found.note(seen)
    with connection.begin():
        return found.conclude(NOW, started_at=STARTED)


def test_every_row_is_absent_then_deleted_and_only_what_the_walk_could_have_named(
    warehouse: sa.Engine,
) -> None:
    cases = list(product(("default", "other"), (False, True), (None, EARLIER), (None, EARLIER), LATER))
    expected = {}
    for number, (account, named, absent, deleted, observed) in enumerate(cases, 1):
        put(
            warehouse,
            "installs",
            account=account,
            install_id=number,
            absent_since=absent,
            deleted_at=deleted,
            observed_at=observed,
        )
        misses = account == "default" and not named and deleted is None and observed <= STARTED
        after = (absent or NOW, NOW if absent else None) if misses else (absent, deleted)
        expected[account, number] = after
    named = [number for number, case in enumerate(cases, 1) if case[1]]
    with warehouse.connect() as connection:
        gone = sweep(connection, [*named, *named])
    assert stored(warehouse, "installs") == expected
    assert gone == Gone(absent=2, deleted=2)


def test_a_named_row_of_another_account_is_no_sight_of_ones_own(warehouse: sa.Engine) -> None:
    put(warehouse, "installs", install_id=1)
    put(warehouse, "installs", install_id=1, account="other")
    with warehouse.connect() as connection:
        assert sweep(connection, [2]) == Gone(1, 0)
    assert stored(warehouse, "installs") == {("default", 1): (NOW, None), ("other", 1): (None, None)}


def test_more_ids_than_are_written_at_once_are_all_named(warehouse: sa.Engine) -> None:
    ids = list(range(1, 20_003))
    with warehouse.begin() as connection:
        connection.exec_driver_sql(
            "insert into enerflo.installs (account, install_id, observed_at, observed_by)"
            " select 'default', n, '2026-03-01', 'poll' from generate_series(1, 20004) n"
        )
    with warehouse.connect() as connection:
        assert sweep(connection, ids) == Gone(absent=2, deleted=0)
        sweeping = Sweep(connection, INSTALLS, "default", None)
        connection.rollback()
        assert sweeping.absentees(NOW, 10) == [20_003, 20_004]
        assert sweeping.absentees(NOW, 1) == [20_003]


def test_only_what_this_sweep_found_absent_is_asked_for_directly(warehouse: sa.Engine) -> None:
    put(warehouse, "installs", install_id=1, absent_since=NOW)
    put(warehouse, "installs", install_id=2, absent_since=EARLIER)
    put(warehouse, "installs", install_id=3)
    put(warehouse, "installs", install_id=4, absent_since=NOW, deleted_at=NOW)
    put(warehouse, "installs", install_id=5, absent_since=NOW, account="other")
    put(warehouse, "installs", install_id=6, absent_since=NOW)
    with warehouse.connect() as connection:
        found = Sweep(connection, INSTALLS, "default", None)
        assert found.absentees(NOW, 9) == [1, 6]


@pytest.mark.parametrize(
    ("known", "guard", "floor", "most"),
    [
        *[(0, 0.5, 1, 0), (1, 0.5, 1, 0), (1, 1.0, 10, 0), (2, 0.0, 1, 1), (2, 0.5, 1, 1), (3, 0.0, 1, 1)],
        *[(10, 0.25, 1, 2), (100, 0.05, 1, 5), (100, 0.05, 10, 10), (1000, 0.05, 10, 50), (5, 0.0, 0, 0)],
    ],
)
def test_so_many_may_be_missing_at_once(known: int, guard: float, floor: int, most: int) -> None:
    assert most_missing(known, guard, floor) == most
    if floor == 1:
        assert most_missing(known, guard) == most


def test_of_a_small_table_ten_may_be_missing_and_counts_go_back_a_day() -> None:
    assert most_missing(40, 0.05, SMALLEST_SHRINK) == 10
    assert timedelta(hours=24) == GUARDED


@pytest.mark.parametrize(
    ("known", "total", "guard", "believed"),
    [
        *[(10, 10, 0.2, True), (10, 11, 0.2, True), (10, 8, 0.2, True), (10, 7, 0.2, False)],
        *[(10, 7, None, True), (10, 0, 1.0, False), (10, 1, 1.0, True), (0, 0, 0.2, True), (1, 1, 0.2, True)],
        *[
            (1, 0, 1.0, False),
            (1, 0, None, True),
            (10, 0, None, True),
            (10, 9, 0.0, True),
            (10, 8, 0.0, False),
        ],
    ],
)
def test_a_total_beside_what_the_mirror_holds(
    warehouse: sa.Engine, known: int, total: int, guard: float | None, believed: bool
) -> None:
    for number in range(1, known + 1):
        put(warehouse, "installs", install_id=number)
    put(warehouse, "installs", install_id=99, deleted_at=EARLIER)
    put(warehouse, "installs", install_id=1, account="other")
    with warehouse.connect() as connection:
        found = Sweep(connection, INSTALLS, "default", guard)
        assert found.known == known
        if believed:
            found.check(total)
            return
        with pytest.raises(ShrunkSourceError, match=f"lists {total} installs where the mirror holds {known}"):
            found.check(total)


@pytest.mark.parametrize(
    ("missing", "lately", "ago", "guard", "believed"),
    [
        *[(0, 0, SECOND, 0.0, True), (1, 0, SECOND, 0.0, True), (2, 0, SECOND, 0.0, False)],
        *[(2, 0, SECOND, 0.2, True), (3, 0, SECOND, 0.2, False), (3, 0, SECOND, None, True)],
        # Of 10 and two found gone a moment ago two may be missing in all.
        *[(1, 2, SECOND, 0.2, False), (1, 1, SECOND, 0.2, True), (2, 1, SECOND, 0.2, False)],
        *[(2, 1, GUARDED, 0.2, False), (2, 1, GUARDED + SECOND, 0.2, True), (2, 1, timedelta(0), 0.2, True)],
        *[(10, 0, SECOND, 1.0, False), (9, 0, SECOND, 1.0, True), (10, 0, SECOND, None, True)],
        # Nothing is missing now, however many were found gone.
        (0, 9, SECOND, 0.0, True),
    ],
)
def test_missing_ones_beside_those_that_were_lately_found_gone(
    warehouse: sa.Engine, missing: int, lately: int, ago: timedelta, guard: float | None, believed: bool
) -> None:
    for number in range(1, 11):
        put(warehouse, "installs", install_id=number)
    for number in range(1, lately + 1):
        gone = {"absent_since": EARLIER, "deleted_at": NOW - ago}
        put(warehouse, "installs", install_id=100 + number, **gone)
    # Enerflo's own deletions, and those of another account, were never missing.
    put(warehouse, "installs", install_id=200, deleted_at=NOW - SECOND)
    put(warehouse, "installs", install_id=201, account="other", absent_since=EARLIER, deleted_at=NOW - SECOND)
    with warehouse.connect() as connection:
        if believed:
            assert sweep(connection, list(range(missing + 1, 11)), guard) == Gone(missing, 0)
            return
        with pytest.raises(ShrunkSourceError) as raised:
            sweep(connection, list(range(missing + 1, 11)), guard)
    some = ", ".join(str(number) for number in range(missing, max(0, missing - 5), -1))
    told = f"{missing} of the 10 known installs are missing from Enerflo's list (such as {some})"
    rest = f", and {lately} were found gone within a day." if lately else "."
    assert told + rest in str(raised.value)
    assert set(stored(warehouse, "installs").values()) >= {(None, None)}
    assert not any(absent == NOW for absent, _ in stored(warehouse, "installs").values())


@pytest.mark.parametrize(
    ("install", "explained"),
    [
        ({"deleted_at": EARLIER}, True),
        ({"absent_since": EARLIER}, True),
        ({}, False),
        ({"account": "other", "deleted_at": EARLIER}, False),
        ({"install_id": 8, "deleted_at": EARLIER}, False),
    ],
)
def test_what_belongs_to_an_install_that_is_gone_is_no_shrinking(
    warehouse: sa.Engine, install: dict[str, Any], explained: bool
) -> None:
    put(warehouse, "installs", **{"install_id": 7, **install})
    put(warehouse, "notes", note_id=1, install_id=7)
    put(warehouse, "notes", note_id=2, install_id=7)
    put(warehouse, "notes", note_id=3, install_id=9)
    with warehouse.connect() as connection:
        found = Sweep(connection, NOTES, "default", 0.0)
        assert found.known == (1 if explained else 3)
        connection.rollback()
        if explained:
            assert sweep(connection, [3], 0.0, NOTES) == Gone(2, 0)
            return
        with pytest.raises(ShrunkSourceError, match=r"2 of the 3 known notes .*\(such as 2, 1\)"):
            sweep(connection, [3], 0.0, NOTES)


def test_a_burial_marks_one_record_and_what_belongs_to_it(warehouse: sa.Engine) -> None:
    accounts = ("default", "other")
    for account, install in product(accounts, (1, 2)):
        put(warehouse, "installs", account=account, install_id=install)
        put(warehouse, "notes", account=account, note_id=install, install_id=install)
        put(warehouse, "notes", account=account, note_id=10 + install, install_id=install, deleted_at=EARLIER)
    with warehouse.begin() as connection:
        assert tombstone(connection, INSTALLS, "default", 1, NOW) == 1
        # It is deleted already.
        assert tombstone(connection, INSTALLS, "default", 1, NOW + SECOND) == 0
        assert tombstone(connection, INSTALLS, "default", 3, NOW) == 0
    marked = {key for key, (_, deleted) in stored(warehouse, "installs").items() if deleted}
    assert marked == {("default", 1)}
    assert stored(warehouse, "installs")["default", 1] == (NOW, NOW)
    notes = stored(warehouse, "notes")
    assert {key for key, (_, deleted) in notes.items() if deleted == NOW} == {("default", 1)}
    assert notes["default", 1] == (NOW, NOW)
    assert notes["default", 11] == (None, EARLIER)


@pytest.mark.parametrize(("observed", "deleted"), [(NOW, 1), (NOW + SECOND, 0)])
def test_a_burial_leaves_alone_what_was_seen_later(
    warehouse: sa.Engine, observed: datetime, deleted: int
) -> None:
    put(warehouse, "installs", install_id=1, observed_at=observed, absent_since=EARLIER)
    with warehouse.begin() as connection:
        assert tombstone(connection, INSTALLS, "default", 1, NOW) == deleted
    assert stored(warehouse, "installs")["default", 1] == (EARLIER, NOW if deleted else None)


def test_what_belongs_to_deleted_records_is_buried_whoever_buried_them(warehouse: sa.Engine) -> None:
    put(warehouse, "installs", install_id=1, deleted_at=EARLIER)
    put(warehouse, "installs", install_id=2)
    put(warehouse, "installs", install_id=3, account="other", deleted_at=EARLIER)
    for install, account in ((1, "default"), (2, "default"), (3, "other")):
        put(warehouse, "notes", note_id=install, install_id=install, account=account)
    put(warehouse, "notes", note_id=5, install_id=1, absent_since=EARLIER)
    with warehouse.connect() as connection:
        sweep(connection, [2])
    assert stored(warehouse, "notes") == {
        ("default", 1): (NOW, NOW),
        ("default", 2): (None, None),
        ("default", 5): (EARLIER, NOW),
        ("other", 3): (None, None),
    }


def test_what_stands_in_quarantine_of_a_buried_record_is_settled(warehouse: sa.Engine) -> None:
    put(warehouse, "installs", install_id=1)
    put(warehouse, "notes", note_id=1, install_id=1)
    items = [
        *[("default", "installs", {"install_id": 1}), ("default", "notes", {"note_id": 1})],
        *[("default", "installs", {"install_id": 2}), ("other", "notes", {"note_id": 1})],
    ]
    with warehouse.begin() as connection:
        for number, (account, table, key) in enumerate(items):
            connection.execute(
                sa.text(
                    "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
                    " last_seen_at, count, state, table_name, key) values (:account, :id, 'record', 'r', 'f', :at,"
                    " :at, 1, 'open', :table, cast(:key as jsonb))"
                ),
                {
                    "account": account,
                    "id": str(number),
                    "at": EARLIER,
                    "table": table,
                    "key": json.dumps(key),
                },
            )
        tombstone(connection, INSTALLS, "default", 1, NOW)
        states = connection.execute(sa.text("select state from sync.quarantine order by item_id")).scalars()
        assert list(states) == ["replayed", "replayed", "open", "open"]
