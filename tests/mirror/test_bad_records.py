"""A record that does not fit is put aside with its reason, or normalised as documented; the rest go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.bad_records import BadKind
from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.render import pieces_of
from enerflo_sandbox.world import World
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.mirror.tally import NAMELESS, Tally
from enerflo_sync.resources.change_orders import ComponentKeys, change_orders_resource
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.notes import NOTES
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import Company

AT = datetime(2026, 3, 2, tzinfo=UTC)


def take(warehouse: sa.Engine, resource: Resource, *records: bytes) -> Tally:
    observation = Observation("default", AT, "poll", "poll:test")
    with warehouse.begin() as connection:
        tally = Intake(resource).take(connection, list(records), observation).tally
    tally.check("test")
    return tally


def column(warehouse: sa.Engine, statement: str) -> Sequence[object]:
    with warehouse.connect() as connection:
        return list(connection.scalars(sa.text(statement)))


REASONS = {
    BadKind.WRONG_TYPES: "expected_text at status_name",
    BadKind.MISSING_ID: "missing_id at id",
    BadKind.ABSURD_NUMBER: "number_out_of_range",
    BadKind.ABSURD_DATE: "not_a_time at created_at",
    BadKind.INVALID_UTF8: "not_utf8",
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_spoilt_install_is_put_aside_and_the_others_are_mirrored(company: Company, kind: BadKind) -> None:
    victim = next(company.world.truth.installs()).install_id
    company.world.plant_bad(victim, kind)
    report = company.poll()
    assert report.state is RunState.PARTIAL
    assert report.quarantined == 1
    assert len(company.mirror("installs", ["install_id"])) == 59
    rows = company.rows("select kind, reason, table_name, key, state, evidence_uri from sync.quarantine")
    key = None if kind is BadKind.MISSING_ID else {"install_id": victim}
    assert rows == [("record", REASONS[kind], "installs", key, "open", f"poll:{report.run_id}")]


def test_the_rejected_bytes_are_kept_without_signature(company: Company) -> None:
    victim = next(company.world.truth.installs()).install_id
    company.world.plant_bad(victim, BadKind.ABSURD_DATE)
    company.poll()
    ((payload,),) = company.rows("select payload from sync.quarantine")
    assert msgspec.json.decode(bytes(payload))["id"] == victim
    assert b"Signature=" not in bytes(payload)


def test_the_same_spoilt_record_is_one_item_that_is_counted(company: Company) -> None:
    company.world.plant_bad(next(company.world.truth.installs()).install_id, BadKind.ABSURD_DATE)
    company.poll()
    company.poll()
    assert company.rows("select count, last_seen_at > first_seen_at from sync.quarantine") == [(2, True)]


def test_a_mended_record_closes_its_item(company: Company) -> None:
    victim = next(company.world.truth.installs()).install_id
    company.world.plant_bad(victim, BadKind.WRONG_TYPES)
    company.poll()
    company.world.mend(victim)
    assert company.poll().state is RunState.OK
    assert company.rows("select state from sync.quarantine") == [("replayed",)]
    company.assert_mirror_is_true()


def test_a_record_that_spoils_keeps_its_last_good_row_and_is_not_taken_for_deleted(company: Company) -> None:
    company.poll()
    victim = next(company.world.truth.installs()).install_id
    company.world.plant_bad(victim, BadKind.ABSURD_DATE)
    company.poll()
    company.poll()
    rows = company.rows(
        "select absent_since, deleted_at from enerflo.installs where install_id = :i", i=victim
    )
    assert rows == [(None, None)]
    company.world.mend(victim)
    company.poll()
    assert company.rows("select state from sync.quarantine") == [("replayed",)]


def test_a_record_that_loses_its_id_is_not_taken_for_deleted(company: Company) -> None:
    """Nobody knows which record a row without an id is, so that no other absence counts either."""
    company.poll()
    victim, other = (row.install_id for row in list(company.world.truth.installs())[:2])
    company.world.plant_bad(victim, BadKind.MISSING_ID)
    company.world.delete_install(other)
    gone = "select install_id from enerflo.installs where absent_since is not null or deleted_at is not null"
    for _ in range(3):
        report = company.poll()
        assert report.state is RunState.PARTIAL
        assert report.resources["installs"]["reasons"]["notice"] == {NAMELESS: 1}
        assert company.rows(gone) == []
    company.world.mend(victim)
    company.poll()
    assert company.rows(gone) == [(other,)]


@pytest.mark.parametrize("record", [b'{"note":"x"}', b'{"note_id":"seven","note":"x"}', b"7"])
def test_a_note_that_loses_its_id_is_not_taken_for_deleted(company: Company, record: bytes) -> None:
    company.poll()
    victim = company.rows("select max(note_id) from enerflo.notes")[0][0]

    def spoil(request: Request, _: World) -> None:
        api = company.api
        if api is None or request.path != "/api/v3/installs/notes" or api in spoilt:
            return
        spoilt.append(api)
        real = api._route

        def route(asked: Request, path: str, key: str) -> Response:
            answer = real(asked, path, key)
            rows = msgspec.json.decode(answer.body)["notes"] if path == request.path else ()
            for row in rows:
                if row["note_id"] == victim:
                    body = answer.body.replace(msgspec.json.encode(row), record)
                    return Response(answer.status, answer.headers, body)
            return answer

        api._route = route  # type: ignore[method-assign]

    spoilt: list[SandboxApi] = []
    company.before_request = spoil
    for _ in range(2):
        report = company.poll(PollResource.NOTES, full=True)
        assert report.resources["notes"]["quarantined"] == 1
    gone = "select absent_since, deleted_at from enerflo.notes where note_id = :i"
    assert company.rows(gone, i=victim) == [(None, None)]


def test_empty_arrays_for_objects_are_read_as_nothing(company: Company) -> None:
    victim = next(company.world.truth.installs()).install_id
    company.world.plant_bad(victim, BadKind.ARRAY_FOR_OBJECT)
    assert company.poll().state is RunState.OK
    rows = company.rows(
        "select customer_name, office_name, agent_name, panel_type, contract_amount"
        " from enerflo.installs where install_id = :id",
        id=victim,
    )
    assert rows == [(None, None, None, None, None)]


def test_nul_characters_are_removed_and_said(company: Company) -> None:
    victim = next(company.world.truth.installs()).install_id
    company.world.plant_bad(victim, BadKind.NUL_CHARACTER)
    report = company.poll()
    assert report.reasons["notice"] == {"nul_removed": 1}
    ((name,),) = company.rows("select customer_name from enerflo.installs where install_id = :id", id=victim)
    assert name
    assert "\0" not in name


def test_unknown_fields_are_kept_and_reported(company: Company) -> None:
    victim = next(company.world.truth.installs()).install_id
    company.world.plant_bad(victim, BadKind.UNKNOWN_FIELDS)
    report = company.poll()
    assert report.state is RunState.OK
    assert report.reasons["notice"] == {"unknown_field: installs.quantum_flux": 1}
    kept = company.rows(
        "select raw->'quantum_flux'->>'capacitance' from enerflo.install_versions where install_id = :id",
        id=victim,
    )
    assert kept == [("1.21",)]


def test_a_status_that_the_company_does_not_list_is_kept_and_reported(company: Company) -> None:
    victim = next(company.world.truth.installs()).install_id
    company.world.set_unlisted_status(victim)
    report = company.poll()
    assert [name for name in report.reasons["notice"] if name.startswith("unknown_status: ")]
    company.assert_mirror_is_true()


NOTE = {"note_id": 7, "id": 1, "epc_install_id": 1, "author_id": 2, "created_at": "2026-01-01 00:00:00"}


def test_a_note_of_five_megabytes_is_put_aside_unread(warehouse: sa.Engine) -> None:
    record = msgspec.json.encode({**NOTE, "note": "x" * 5_000_000})
    tally = take(warehouse, NOTES, record, msgspec.json.encode({**NOTE, "note_id": 8, "note": "short"}))
    assert (tally.quarantined, tally.applied) == (1, 1)
    assert column(warehouse, "select reason from sync.quarantine") == ["record_too_large"]


@pytest.mark.parametrize(
    "note",
    ["plain", "<b>html</b>", "'; drop table enerflo.notes; --", "tab\there\nline\\N", "日本語 🌞", "\\."],
)
def test_any_text_comes_through_unchanged(warehouse: sa.Engine, note: str) -> None:
    take(warehouse, NOTES, msgspec.json.encode({**NOTE, "note": note}))
    assert column(warehouse, "select body from enerflo.notes") == [note]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"[]", "not_an_object"),
        (b"17", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"note_id": 9', "not_json"),
        (b'{"note_id": null}', "missing_id at note_id"),
        (b'{"note_id": 0}', "id_not_a_whole_number at note_id"),
        (b'{"note_id": -3}', "id_not_a_whole_number at note_id"),
        (b'{"note_id": 1.5}', "id_not_a_whole_number at note_id"),
        (b'{"note_id": "../../x"}', "id_not_a_whole_number at note_id"),
        (b'{"note_id": 99999999999999999999999}', "id_not_a_whole_number at note_id"),
        (b'{"note_id": 5, "created_at": "yesterday"}', "not_a_time at created_at"),
        (b'{"note_id": 5, "note": {"a": 1}}', "expected_text at note"),
        (b'{"note_id": 5, "author_id": true}', "expected_whole_number at author_id"),
        (b'{"note_id": 5, "author_id": 1e99}', "number_out_of_range at author_id"),
        (b"{" * 2000, "not_json"),
    ],
)
def test_what_is_no_note_is_named(warehouse: sa.Engine, record: bytes, reason: str) -> None:
    good = msgspec.json.encode({**NOTE, "note": "good"})
    tally = take(warehouse, NOTES, record, good)
    assert (tally.quarantined, tally.applied) == (1, 1)
    assert column(warehouse, "select reason from sync.quarantine") == [reason]


def test_the_later_of_two_copies_on_one_page_counts(warehouse: sa.Engine) -> None:
    first, second = (msgspec.json.encode({**NOTE, "note": text}) for text in ("first", "second"))
    tally = take(warehouse, NOTES, first, second)
    assert (tally.read, tally.applied, tally.skipped) == (2, 1, 1)
    assert column(warehouse, "select body from enerflo.notes") == ["second"]


def test_another_key_order_or_white_space_is_no_change(warehouse: sa.Engine) -> None:
    take(warehouse, INSTALLS, b'{"id": 5, "status_name": "Voided", "panel_count": 12}')
    tally = take(warehouse, INSTALLS, b'{"panel_count":12,"status_name":"Voided","id":5}')
    assert (tally.applied, tally.unchanged) == (0, 1)
    assert column(warehouse, "select count(*) from enerflo.install_versions") == [1]


def test_numbers_as_text_are_numbers(warehouse: sa.Engine) -> None:
    take(
        warehouse,
        INSTALLS,
        b'{"id": "5", "panel_count": "12", "system_size": "4.86", "cost": {"system_cost_gross": "1e4"}}',
    )
    with warehouse.connect() as connection:
        row = connection.execute(
            sa.text("select install_id, panel_count, system_size_kw, contract_amount from enerflo.installs")
        ).one()
    assert [str(value) for value in row] == ["5", "12", "4.86", "10000"]


def test_a_zero_at_the_root_gives_way_to_the_survey(warehouse: sa.Engine) -> None:
    take(
        warehouse,
        INSTALLS,
        b'{"id":5,"panel_count":0,"system_size":0,"survey":{"panel_count":9,"solar_system_size":3.6}}',
    )
    assert column(warehouse, "select panel_count from enerflo.installs") == [9]
    assert [str(value) for value in column(warehouse, "select system_size_kw from enerflo.installs")] == [
        "3.6"
    ]


def test_a_milestone_that_the_install_no_longer_lists_gets_a_tombstone(warehouse: sa.Engine) -> None:
    take(warehouse, INSTALLS, b'{"id":5,"all_milestones":[{"milestone":{"id":1}},{"milestone":{"id":2}}]}')
    take(warehouse, INSTALLS, b'{"id":5,"all_milestones":[{"milestone":{"id":2}}]}')
    assert column(warehouse, "select milestone_id from enerflo.milestones where deleted_at is null") == [2]
    take(warehouse, INSTALLS, b'{"id":5,"all_milestones":[{"milestone":{"id":1}},{"milestone":{"id":2}}]}')
    alive = "select milestone_id from enerflo.milestones where deleted_at is null order by 1"
    assert column(warehouse, alive) == [1, 2]


@pytest.mark.parametrize(("seen_later", "deleted"), [(False, True), (True, False)])
def test_a_milestone_that_somebody_writes_meanwhile_gets_a_tombstone_unless_it_was_seen_later(
    warehouse: sa.Engine, seen_later: bool, deleted: bool
) -> None:
    take(warehouse, INSTALLS, b'{"id":5,"all_milestones":[{"milestone":{"id":1}},{"milestone":{"id":2}}]}')
    blocked = (
        "select exists (select from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock')"
    )
    with warehouse.connect() as other, ThreadPoolExecutor(1) as pool:
        later = timedelta(hours=1) if seen_later else timedelta(0)
        other.execute(
            sa.text("update enerflo.milestones set title = 'x', observed_at = :at where milestone_id = 1"),
            {"at": AT + later},
        )
        taken = pool.submit(take, warehouse, INSTALLS, b'{"id":5,"all_milestones":[{"milestone":{"id":2}}]}')
        until = time.monotonic() + 20
        while not column(warehouse, blocked)[0] and time.monotonic() < until:
            time.sleep(0.01)
        assert not taken.done()
        other.commit()
        taken.result(20)
    gone = column(
        warehouse, "select deleted_at is not null from enerflo.milestones order by milestone_id limit 1"
    )
    assert gone == [deleted]


def test_unlisted_milestones_of_many_installs_get_their_tombstones_at_once(warehouse: sa.Engine) -> None:
    some = b'{"id":%d,"all_milestones":[{"milestone":{"id":1}},{"milestone":{"id":2}}]}'
    take(warehouse, INSTALLS, *(some % number for number in range(1, 301)))
    fewer = b'{"id":%d,"all_milestones":[{"milestone":{"id":%d}}]}'
    take(warehouse, INSTALLS, *(fewer % (number, 1 + number % 2) for number in range(1, 301)))
    left = "select install_id, milestone_id from enerflo.milestones where deleted_at is null"
    with warehouse.connect() as connection:
        alive = {tuple(row) for row in connection.execute(sa.text(left))}
    assert alive == {(number, 1 + number % 2) for number in range(1, 301)}


@pytest.mark.parametrize("empty", [b"[]", b"{}", b"null", b'""'])
def test_a_customer_without_integrations_is_read(warehouse: sa.Engine, empty: bytes) -> None:
    take(warehouse, CUSTOMERS, b'{"id":5,"first_name":"A","integrations":' + empty + b"}")
    assert column(warehouse, "select integration_record_id from enerflo.customers") == [None]


@pytest.mark.parametrize(
    "adders", [b'{"986": {"id": 986, "cost": "300.10"}}', b'[{"id": 986, "cost": 300.1}]']
)
def test_adders_come_as_object_or_as_list(warehouse: sa.Engine, adders: bytes) -> None:
    record = (
        b'{"id": 1, "epc_install_id": 5, "change_values": {"adders": {"old": [], "new": ' + adders + b"}}}"
    )
    take(warehouse, change_orders_resource(), record)
    rows = column(warehouse, "select concat_ws(' ', adder_id, side, cost) from enerflo.change_order_adders")
    assert [str(row).rstrip("0") for row in rows] == ["986 new 300.1"]


def test_components_that_nobody_reads_are_kept_and_reported(warehouse: sa.Engine) -> None:
    record = (
        b'{"id": 1, "epc_install_id": 5, "change_values": {"inverter": {"old": "IQ7", "new": "IQ8"},'
        b' "finance": {"new": 1}, "roof": [], "module_count": {"old": 9, "new": 11}, "total_cost": {"new": 5}}}'
    )
    tally = take(warehouse, change_orders_resource(ComponentKeys(ignored=("finance",))), record)
    assert tally.reasons["notice"] == {"unknown_field: change_orders.change_values.inverter": 1}
    kept = column(warehouse, "select unknown_components from enerflo.change_orders")
    assert kept == [{"inverter": {"old": "IQ7", "new": "IQ8"}}]
    take(warehouse, change_orders_resource(), b'{"id": 1, "epc_install_id": 5, "change_values": {}}')
    assert column(warehouse, "select unknown_components from enerflo.change_orders") == [None]


def test_a_quarantined_poll_of_one_resource_leaves_the_others_ok(company: Company) -> None:
    company.world.plant_bad(next(company.world.truth.installs()).install_id, BadKind.MISSING_ID)
    report = company.poll(PollResource.STATUSES, PollResource.INSTALLS)
    assert report.resources["statuses"]["quarantined"] == 0
    assert report.resources["installs"]["quarantined"] == 1


def test_a_record_that_only_the_warehouse_refuses_is_put_aside_alone(company: Company) -> None:
    victim = next(company.world.truth.installs()).install_id
    number = company.world.number_of(victim)
    spoilt = company.world.rendered(number).replace(b'"utility":{', b'"utility":{"volts":1e200000,', 1)
    assert b"1e200000" in spoilt
    company.world._rendered[number] = pieces_of(spoilt)
    report = company.poll(PollResource.INSTALLS)
    assert (report.state, report.quarantined, report.applied) == (RunState.PARTIAL, 1, 59)
    assert company.rows("select key, state from sync.quarantine") == [({"install_id": victim}, "open")]
    assert company.poll(PollResource.INSTALLS).unchanged == 59
