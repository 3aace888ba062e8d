"""Every record is counted once, by what became of it; and what one record's contents change by themselves."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.mirror.batch import RECORD_LIMIT
from enerflo_sync.mirror.details import take_detail
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.fingerprint import stable_bytes
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.notes import NOTES
from tests.mirror.test_intake import observed, prepare, rows, take

NOTE = b'{"note_id":%d,"id":5,"note":"%s"}'
MILESTONES = b'{"id":5,"all_milestones":[%s]}'
MILESTONE = b'{"milestone":{"id":%d,"title":"%s"}}'
HERE = "select milestone_id, title from enerflo.milestones where deleted_at is null order by 1"


def counts(tally: Tally) -> tuple[int, ...]:
    tally.check("test")
    return tally.read, tally.applied, tally.unchanged, tally.quarantined, tally.skipped


def test_each_record_of_a_page_is_counted_by_what_became_of_it(warehouse: sa.Engine) -> None:
    take(warehouse, NOTES, 0, NOTE % (1, b"as it was"), NOTE % (2, b"before"))
    page = [
        *(NOTE % (1, b"as it was"), NOTE % (2, b"first"), NOTE % (2, b"after"), NOTE % (3, b"new")),
        *(b'{"note_id":4,"created_at":"soon"}', b"{", b"{}", NOTE % (6, b"x" * RECORD_LIMIT)),
        *(b'{"note_id":"no number"}', NOTE % (7, b"new too"), NOTE % (3, b"new")),
    ]
    batch = take(warehouse, NOTES, 1, *page)
    assert counts(batch.tally) == (11, 3, 1, 5, 2)
    assert batch.tally.reasons["skipped"] == {"repeated_on_page": 2}
    assert batch.tally.reasons["quarantined"] == {
        "not_a_time at created_at": 1,
        "not_json": 1,
        "missing_id at note_id": 1,
        "record_too_large": 1,
        "id_not_a_whole_number at note_id": 1,
    }
    assert (sorted(batch.ids), sorted(batch.good)) == ([1, 2, 3, 4, 6, 7], [1, 2, 3, 7])
    assert (sorted(batch.changed), sorted(batch.new), batch.all_new) == ([2, 3, 7], [3, 7], False)
    assert rows(warehouse, "select note_id, body from enerflo.notes order by 1") == [
        *[(1, "as it was"), (2, "after"), (3, "new"), (7, "new too")]
    ]
    assert rows(warehouse, "select key from sync.quarantine where key is not null order by 1") == [
        *[({"note_id": 4},), ({"note_id": 6},)]
    ]


@pytest.mark.parametrize(("more", "quarantined"), [(0, 0), (1, 1)])
def test_the_largest_record(warehouse: sa.Engine, more: int, quarantined: int) -> None:
    empty = NOTE % (1, b"")
    assert RECORD_LIMIT == 1_000_000
    batch = prepare(warehouse, NOTES, 0, NOTE % (1, b"x" * (RECORD_LIMIT - len(empty) + more)))
    assert batch.tally.quarantined == quarantined


@pytest.mark.parametrize(("more", "quarantined"), [(None, 0), (0, 0), (1, 1)])
def test_a_record_that_is_large_by_what_is_left_out_of_it_is_read(
    warehouse: sa.Engine, more: int | None, quarantined: int
) -> None:
    user = b'"logged_in_user":{"name":"%s"}' % (b"x" * RECORD_LIMIT)
    record = b'{"id":5,"all_milestones":[],"survey_id":"%s",' + user + b"}"
    rest = 0 if more is None else RECORD_LIMIT - len(stable_bytes(record % b"")) + more
    batch = take(warehouse, INSTALLS, 0, record % (b"x" * rest))
    assert counts(batch.tally) == (1, 1 - quarantined, 0, quarantined, 0)


def test_what_another_account_knows_is_news_here(warehouse: sa.Engine) -> None:
    take(warehouse, NOTES, 0, NOTE % (1, b"same"))
    with warehouse.begin() as connection:
        connection.exec_driver_sql("update enerflo.notes set account = 'other'")
    batch = take(warehouse, NOTES, 1, NOTE % (1, b"same"))
    assert (counts(batch.tally), batch.all_new) == ((1, 1, 0, 0, 0), True)
    assert rows(warehouse, "select account, note_id from enerflo.notes order by 1") == [
        *[("default", 1), ("other", 1)]
    ]


def test_an_absent_record_is_looked_at_though_it_is_as_it_was(warehouse: sa.Engine) -> None:
    take(warehouse, NOTES, 0, NOTE % (1, b"same"))
    with warehouse.begin() as connection:
        connection.exec_driver_sql("update enerflo.notes set absent_since = now()")
    take(warehouse, NOTES, 1, NOTE % (1, b"same"))
    assert rows(warehouse, "select absent_since from enerflo.notes") == [(None,)]


def test_notices_name_what_is_unknown_and_what_was_removed(warehouse: sa.Engine) -> None:
    name = "y" * 70
    record = b'{"note_id":1,"id":5,"note":"a\\u0000b","%s":1,"also":2}' % name.encode()
    batch = take(warehouse, NOTES, 0, record)
    assert batch.tally.reasons["notice"] == {
        **{"nul_removed": 1, f"unknown_field: notes.{'y' * 64}": 1, "unknown_field: notes.also": 1}
    }
    # What only looks like it is no removal.
    batch = take(warehouse, NOTES, 1, b'{"note_id":1,"id":5,"note":"a\\\\u0000b"}')
    assert batch.tally.reasons == {}
    assert rows(warehouse, "select body from enerflo.notes") == [("a\\u0000b",)]


def test_a_record_that_the_warehouse_refused_is_put_aside(warehouse: sa.Engine) -> None:
    with warehouse.begin() as connection:
        batch = Intake(NOTES).refuse(connection, NOTE % (1, b"x"), observed(0))
        other = Intake(NOTES).refuse(connection, b"{", observed(0))
    assert (counts(batch.tally), batch.ids) == ((1, 0, 0, 1, 0), [1])
    assert (counts(other.tally), other.ids) == ((1, 0, 0, 1, 0), [])
    assert rows(warehouse, "select reason, key from sync.quarantine order by key nulls last") == [
        *[("refused_by_the_warehouse", {"note_id": 1}), ("refused_by_the_warehouse", None)]
    ]


def contents(warehouse: sa.Engine, minutes: int, record: bytes) -> tuple[int, ...]:
    with warehouse.begin() as connection:
        return counts(take_detail(connection, Intake(INSTALLS), record, observed(minutes), 5))


def items(warehouse: sa.Engine) -> list[Any]:
    return rows(warehouse, "select table_name, key, state from sync.quarantine")


def test_only_what_belongs_to_a_record_is_stored_of_a_direct_answer(warehouse: sa.Engine) -> None:
    take(warehouse, INSTALLS, 0, b'{"id":5,"status_name":"Listed","all_milestones":[]}')
    answer = MILESTONES % (MILESTONE % (1, b"A") + b"," + MILESTONE % (2, b"B"))
    assert contents(warehouse, 1, answer) == (1, 1, 0, 0, 0)
    assert contents(warehouse, 2, answer) == (1, 0, 1, 0, 0)
    assert rows(warehouse, HERE) == [(1, "A"), (2, "B")]
    # A milestone that is listed no more is a change, too; an older answer is none.
    assert contents(warehouse, 4, MILESTONES % (MILESTONE % (1, b"A"))) == (1, 1, 0, 0, 0)
    assert contents(warehouse, 3, answer)[1:3] == (0, 1)
    assert rows(warehouse, HERE) == [(1, "A")]
    assert rows(warehouse, "select status_name from enerflo.installs") == [("Listed",)]


def test_what_cannot_be_read_of_a_direct_answer_stands_under_what_it_tells(warehouse: sa.Engine) -> None:
    take(warehouse, INSTALLS, 0, b'{"id":5,"status_name":"Listed","all_milestones":[]}')
    assert contents(warehouse, 1, b'{"id":5,"all_milestones":"none"}') == (1, 0, 0, 1, 0)
    assert items(warehouse) == [("milestones", {"install_id": 5}, "open")]
    assert contents(warehouse, 2, MILESTONES % (MILESTONE % (1, b"A"))) == (1, 1, 0, 0, 0)
    assert items(warehouse) == [("milestones", {"install_id": 5}, "replayed")]
