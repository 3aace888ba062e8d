"""The one path into the mirror, step by step: what is known may be old, answers may overtake each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.mirror.batch import Batch, Observation, together
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.sweep import tombstone
from enerflo_sync.resources.change_orders import change_orders_resource
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.fingerprint import stable_bytes
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.notes import NOTES
from enerflo_sync.resources.resource import Resource

AT = datetime(2026, 3, 2, 8, tzinfo=UTC)
TWO = b'{"id":5,"status_name":"New","all_milestones":[{"milestone":{"id":1}},{"milestone":{"id":2}}]}'
ONE = b'{"id":5,"status_name":"Old","all_milestones":[{"milestone":{"id":1}}]}'


def observed(minutes: int) -> Observation:
    return Observation("default", AT + timedelta(minutes=minutes), "poll", f"poll:{minutes}")


def prepare(warehouse: sa.Engine, resource: Resource, minutes: int, *records: bytes) -> Batch:
    with warehouse.connect() as connection:
        return Intake(resource).prepare(connection, list(records), observed(minutes))


def store(warehouse: sa.Engine, resource: Resource, batch: Batch) -> Batch:
    with warehouse.begin() as connection:
        return Intake(resource).store(connection, batch)


def take(warehouse: sa.Engine, resource: Resource, minutes: int, *records: bytes) -> Batch:
    return store(warehouse, resource, prepare(warehouse, resource, minutes, *records))


def rows(warehouse: sa.Engine, statement: str) -> list[Any]:
    with warehouse.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


ALIVE = "select milestone_id from enerflo.milestones where deleted_at is null order by 1"


def test_an_old_answer_that_is_stored_late_changes_nothing(warehouse: sa.Engine) -> None:
    take(warehouse, INSTALLS, 0, b'{"id":5,"status_name":"First","all_milestones":[{"milestone":{"id":2}}]}')
    old = prepare(warehouse, INSTALLS, 1, ONE)
    take(warehouse, INSTALLS, 2, TWO)
    store(warehouse, INSTALLS, old)
    assert rows(warehouse, "select status_name from enerflo.installs") == [("New",)]
    assert rows(warehouse, ALIVE) == [(1,), (2,)]


def test_an_old_answers_milestone_dates_change_nothing_either(warehouse: sa.Engine) -> None:
    form = '{"id":5,"status_name":"%s","all_milestones":[{"milestone":{"id":1},"due_at":"%s 00:00:00"}]}'
    take(warehouse, INSTALLS, 0, (form % ("First", "2026-01-01")).encode())
    old = prepare(warehouse, INSTALLS, 1, (form % ("Second", "2026-02-02")).encode())
    take(warehouse, INSTALLS, 2, (form % ("Third", "2026-01-01")).encode())
    store(warehouse, INSTALLS, old)
    assert rows(warehouse, "select due_at::date::text from enerflo.milestones") == [("2026-01-01",)]


NOTE = b'{"note_id":7,"id":5,"note":"%s","deleted_at":%s}'
ORDER = b'{"id":8,"epc_install_id":5,"change_values":{"adders":{"new":[%s]}}}'
STANDING = """
    select 'install', deleted_at is null from enerflo.installs
    union all select 'milestone', deleted_at is null from enerflo.milestones
    union all select 'note', deleted_at is null from enerflo.notes
    union all select 'order', deleted_at is null from enerflo.change_orders
    union all select 'adder', deleted_at is null from enerflo.change_order_adders order by 1"""


@pytest.mark.parametrize("changed", [False, True])
def test_an_answer_from_before_a_deletion_was_found_revives_nothing(
    warehouse: sa.Engine, changed: bool
) -> None:
    orders = change_orders_resource()
    take(warehouse, INSTALLS, 0, ONE)
    take(warehouse, NOTES, 0, NOTE % (b"x", b"null"))
    take(warehouse, orders, 0, ORDER % b'{"id":1}')
    with warehouse.begin() as connection:
        assert tombstone(connection, INSTALLS, "default", 5, AT + timedelta(minutes=2)) == 1

    def told(minutes: int) -> None:
        take(warehouse, INSTALLS, minutes, TWO if changed else ONE)
        take(warehouse, NOTES, minutes, NOTE % (b"y" if changed else b"x", b"null"))
        take(warehouse, orders, minutes, ORDER % (b'{"id":1},{"id":2}' if changed else b'{"id":1}'))

    told(1)
    kinds = ("adder", "install", "milestone", "note", "order")
    # The adders of an order have no tombstone where its install was deleted.
    assert rows(warehouse, STANDING) == [(kind, kind == "adder") for kind in kinds]
    told(3)
    assert {alive for _, alive in rows(warehouse, STANDING)} == {True}
    assert rows(warehouse, ALIVE) == ([(1,), (2,)] if changed else [(1,)])


def test_an_adder_that_an_order_lists_no_more_is_not_revived_by_an_older_list(warehouse: sa.Engine) -> None:
    orders = change_orders_resource()
    both, one = (
        b'{"id":8,"change_values":{"adders":{"old":[%s]}}}' % adders for adders in (b'{"id":1},{"id":2}', b"")
    )
    take(warehouse, orders, 0, both)
    old = prepare(warehouse, orders, 1, both.replace(b'"id":8', b'"id":8,"hash":"z"'))
    take(warehouse, orders, 2, one)
    store(warehouse, orders, old)
    assert rows(warehouse, "select count(deleted_at) from enerflo.change_order_adders") == [(2,)]


def test_a_deletion_that_the_record_itself_tells_is_taken_back_whatever_its_time(
    warehouse: sa.Engine,
) -> None:
    take(warehouse, NOTES, 0, NOTE % (b"x", b'"2031-01-01 00:00:00"'))
    assert rows(warehouse, "select deleted_at::date::text from enerflo.notes") == [("2031-01-01",)]
    take(warehouse, NOTES, 1, NOTE % (b"x", b"null"))
    assert rows(warehouse, "select deleted_at from enerflo.notes") == [(None,)]


def test_a_record_that_was_thought_new_and_was_not_loses_no_milestone(warehouse: sa.Engine) -> None:
    first = prepare(warehouse, INSTALLS, 0, TWO)
    again = prepare(warehouse, INSTALLS, 1, TWO, b'{"id":6,"all_milestones":[]}')
    store(warehouse, INSTALLS, first)
    assert again.all_new
    store(warehouse, INSTALLS, again)
    assert rows(warehouse, ALIVE) == [(1,), (2,)]
    assert rows(warehouse, "select count(*) from enerflo.installs") == [(2,)]


def test_a_known_record_that_grows_too_large_still_counts_as_seen(warehouse: sa.Engine) -> None:
    note = b'{"note_id":7,"note":"%s"}'
    batch = prepare(warehouse, NOTES, 0, note % (b"x" * 2_000_000))
    assert batch.ids == [7]
    assert batch.tally.quarantined == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"see https://x.io/y?a=1&token=abc please call back", b"see https://x.io/y please call back"),
        (b"https:\\/\\/x.io\\/y?Expires=1&Signature=s", b"https:\\/\\/x.io\\/y"),
        (b"https://x.io/y?token=abc", b"https://x.io/y"),
        (b'link \\"https://x.io/y?a=1&sig=abc\\" is here', b'link \\"https://x.io/y\\" is here'),
        (
            b"Really?Expires=never, she said. Second sentence",
            b"Really?Expires=never, she said. Second sentence",
        ),
        (b"https://x.io/y?page=2", b"https://x.io/y?page=2"),
    ],
)
def test_only_the_query_of_a_signed_address_is_left_out(text: bytes, kept: bytes) -> None:
    assert stable_bytes(b'{"note":"' + text + b'"}') == b'{"note":"' + kept + b'"}'


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b'{"id":5,"all_milestones":[],"utility":{"company":"\xff"}}', "not_utf8"),
        (b'{"id":5,"all_milestones":[],"id":6}', "two_ids at id"),
        (
            '{"id":5,"all_milestones":[],"system_size":"\uff11\uff12"}'.encode(),
            "expected_number at system_size",
        ),
        (b'{"id":5,"all_milestones":[],"system_size":"1e-20000"}', "expected_number at system_size"),
        (b'{"id":5,"all_milestones":[],"panel_count":"1e3000000"}', "expected_whole_number at panel_count"),
        (b'{"id":5,"all_milestones":[],"created_at":"2024-02-30 00:00:00"}', "not_a_time at created_at"),
    ],
)
def test_what_python_reads_and_postgresql_would_not_is_put_aside(
    warehouse: sa.Engine, record: bytes, reason: str
) -> None:
    batch = take(warehouse, INSTALLS, 0, record, b'{"id":9,"all_milestones":[]}')
    batch.tally.check("test")
    assert rows(warehouse, "select install_id from enerflo.installs") == [(9,)]
    assert rows(warehouse, "select reason from sync.quarantine") == [(reason,)]


def test_a_record_without_an_id_does_not_stop_later_polls(warehouse: sa.Engine) -> None:
    for minute in range(3):
        take(warehouse, NOTES, minute, b'{"note": "whose?"}', b'{"note_id": 3}')
    assert rows(warehouse, "select key, count from sync.quarantine") == [(None, 3)]


def test_a_dismissed_item_stays_dismissed_and_a_replayed_one_opens_again(warehouse: sa.Engine) -> None:
    bad, good = b'{"note_id": 3, "created_at": "soon"}', b'{"note_id": 3}'
    take(warehouse, NOTES, 0, bad)
    take(warehouse, NOTES, 1, good)
    assert rows(warehouse, "select state from sync.quarantine") == [("replayed",)]
    take(warehouse, NOTES, 2, bad)
    assert rows(warehouse, "select state from sync.quarantine") == [("open",)]
    with warehouse.begin() as connection:
        connection.execute(sa.text("update sync.quarantine set state = 'dismissed'"))
    take(warehouse, NOTES, 3, bad)
    assert rows(warehouse, "select state from sync.quarantine") == [("dismissed",)]


def test_true_is_not_one(warehouse: sa.Engine) -> None:
    take(warehouse, INSTALLS, 0, b'{"id":5,"all_milestones":[],"panel_count":1}')
    batch = take(warehouse, INSTALLS, 1, b'{"id":5,"all_milestones":[],"panel_count":true}')
    assert batch.tally.quarantined == 1


SAID = (
    r'{"id":5,"status_name":"Café\u0000","all_milestones":[],"system_size":4.80,"files":{"a":1,"b":[true]}}'
)


@pytest.mark.parametrize(
    "spelt",
    [
        r'{"all_milestones":[],"files":{"b":[true],"a":1},"id":5,"system_size":4.80,"status_name":"Café\u0000"}',
        r'{ "id" : 5, "status_name" : "Café\u0000", "all_milestones":[ ],"system_size":4.80,"files":{"a":1,"b":[true]}}',
        r'{"id":5,"status_name":"Caf\u00e9\u0000","all_milestones":[],"system_size":48e-1,"files":{"a":1,"b":[true]}}',
        r'{"id":5,"status_name":"Café","all_milestones":[],"system_size":4.8,"files":{"a":1.0,"b":[true]}}',
    ],
)
def test_another_spelling_is_no_new_content(warehouse: sa.Engine, spelt: str) -> None:
    take(warehouse, INSTALLS, 0, SAID.encode())
    batch = take(warehouse, INSTALLS, 1, spelt.encode())
    batch.tally.check("test")
    assert (batch.tally.applied, batch.tally.unchanged, batch.good) == (0, 1, [5])
    assert rows(warehouse, "select count(*) from enerflo.install_versions") == [(1,)]


def test_a_user_in_an_unusual_form_is_no_new_content(warehouse: sa.Engine) -> None:
    user = '"logged_in_user":{"id":1,"team":{"session":"%s"}}'
    take(warehouse, INSTALLS, 0, ('{"id":5,"all_milestones":[],' + user % "a" + "}").encode())
    # In another order as well: by its bytes it would be a version of its own.
    batch = take(warehouse, INSTALLS, 1, ('{"all_milestones":[],"id":5,' + user % "b" + "}").encode())
    assert (batch.changed, batch.tally.unchanged) == ({}, 1)
    assert rows(warehouse, "select count(*), min(raw->>'logged_in_user') from enerflo.install_versions") == [
        (1, None)
    ]


@pytest.mark.parametrize(
    "content",
    [
        SAID.replace("true", "1"),
        SAID.replace("[true]", "[true,true]"),
        SAID.replace("4.80", "4.81"),
        SAID.replace("Café", "Cafe\u0301"),
        SAID.replace('"a":1', '"a":1,"c":null'),
    ],
)
def test_other_content_is_a_version_of_its_own(warehouse: sa.Engine, content: str) -> None:
    take(warehouse, INSTALLS, 0, SAID.encode())
    assert list(take(warehouse, INSTALLS, 1, content.encode()).changed) == [5]
    assert rows(warehouse, "select count(*) from enerflo.install_versions") == [(2,)]


@pytest.mark.parametrize("isolation", ["AUTOCOMMIT", "READ COMMITTED"])
def test_what_postgresql_refuses_to_compare_tells_nothing_of_the_others(
    warehouse: sa.Engine, isolation: str
) -> None:
    form = '{"id":%d,"all_milestones":[],"utility":{"volts":%s}}'
    take(warehouse, INSTALLS, 0, *((form % (number, "1")).encode() for number in (5, 6, 7, 8)))
    later = [form % (5, "1.0"), form % (6, "1e200000"), form % (7, "2"), form % (8, '"\\ud800"')]
    with warehouse.connect().execution_options(isolation_level=isolation) as connection:
        batch = Intake(INSTALLS).prepare(connection, [one.encode() for one in later], observed(1))
        assert connection.scalar(sa.text("select 1")) == 1
    tally = batch.tally
    assert (sorted(batch.changed), tally.unchanged, tally.quarantined) == ([6, 7], 1, 1)


def test_a_change_in_a_field_that_no_column_holds_writes_no_row(warehouse: sa.Engine) -> None:
    take(warehouse, CUSTOMERS, 0, b'{"id":5,"first_name":"A","details":"x"}')
    batch = take(warehouse, CUSTOMERS, 1, b'{"id":5,"first_name":"A","details":"y"}')
    assert (batch.tally.applied, batch.tally.unchanged) == (0, 1)


def test_pages_that_are_stored_together_keep_each_its_own_time(warehouse: sa.Engine) -> None:
    def milestones(install: int, *numbers: int) -> bytes:
        listed = ",".join(f'{{"milestone":{{"id":{number}}}}}' for number in numbers)
        return f'{{"id":{install},"all_milestones":[{listed}]}}'.encode()

    take(warehouse, INSTALLS, 0, milestones(5, 1, 2), milestones(6, 1, 2), milestones(7, 1))
    pages = [
        prepare(warehouse, INSTALLS, 1, milestones(5, 1), milestones(7, 1)),
        prepare(warehouse, INSTALLS, 3, milestones(6, 1), milestones(8, 9)),
    ]
    with warehouse.begin() as connection:
        # Somebody saw both second milestones between the two answers.
        seen = AT + timedelta(minutes=2)
        connection.execute(sa.text("update enerflo.milestones set observed_at = :seen"), {"seen": seen})
    assert pages[0].goes_with(pages[1])
    assert not pages[0].goes_with(pages[0])
    batch = store(warehouse, INSTALLS, together(pages))
    assert (batch.tally.read, batch.tally.applied, batch.tally.unchanged) == (4, 3, 1)
    assert rows(
        warehouse,
        "select install_id, observed_at, (select count(*) from enerflo.install_versions v"
        " where v.install_id = i.install_id) from enerflo.installs i order by 1",
    ) == [
        (5, AT + timedelta(minutes=1), 2),
        (6, AT + timedelta(minutes=3), 2),
        (7, AT, 1),
        (8, AT + timedelta(minutes=3), 1),
    ]
    assert rows(
        warehouse, "select install_id, deleted_at from enerflo.milestones where milestone_id = 2 order by 1"
    ) == [(5, None), (6, AT + timedelta(minutes=3))]
