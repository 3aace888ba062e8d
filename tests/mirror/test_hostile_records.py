"""Whatever one record's reading raises is that record's: quarantined alone, and the others go on."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.exchange import Request, Response
from enerflo_sync.enerflo.answers import decode_answer
from enerflo_sync.errors import BadRecordError
from enerflo_sync.mirror import encoding
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.change_orders import change_orders_resource
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.installs import INSTALL_LIST, INSTALLS
from enerflo_sync.resources.notes import NOTES
from enerflo_sync.resources.statuses import STATUSES
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import Company
from tests.mirror.hostile import FIELDS, VALUES, plant, with_value
from tests.refusing import refuse

RESOURCES = (INSTALLS, CUSTOMERS, NOTES, STATUSES, change_orders_resource())


def victims_of(company: Company, combinations: list[tuple[str, str]]) -> dict[int, tuple[str, bytes]]:
    ids = sorted(row.install_id for row in company.world.truth.installs())
    return {
        install_id: (field, VALUES[name])
        for install_id, (field, name) in zip(ids, combinations, strict=False)
    }


def assert_others_are_there(company: Company, victims: dict[int, Any]) -> None:
    """All that is not hostile is in the mirror, and each hostile record is there or in quarantine."""
    ids = {row.install_id for row in company.world.truth.installs()} | victims.keys()
    there = {one for (one,) in company.mirror("installs", ["install_id"])}
    assert ids - victims.keys() <= there
    quarantined = company.rows("select key ->> 'install_id', payload from sync.quarantine")
    named = {int(key) for key, _ in quarantined if key}
    nameless = sum(key is None for key, _ in quarantined)
    assert len(victims.keys() - there - named) <= nameless


@pytest.mark.parametrize("part", range(5))
def test_one_poll_meets_every_hostile_value_in_every_field(
    company: Company, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    victims = victims_of(company, list(itertools.product(FIELDS, VALUES))[part * 44 : part * 44 + 44])
    assert len(victims) == 44
    plant(monkeypatch, company.world, victims)
    report = company.poll(PollResource.INSTALLS)
    assert report.state is RunState.PARTIAL
    assert_others_are_there(company, victims)
    reasons = company.rows("select distinct reason from sync.quarantine")
    # The error's kind is said, never a part of the record.
    assert all(len(reason) < 80 for (reason,) in reasons)


def test_a_deep_record_is_quarantined_as_that(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    victims = victims_of(company, [("quantum_flux", "depth of 100,000"), ("cost", "half a character")])
    plant(monkeypatch, company.world, victims)
    company.poll(PollResource.INSTALLS)
    deep, half = victims
    reasons = company.rows("select key, reason from sync.quarantine")
    assert sorted(reasons, key=str) == sorted(
        [({"install_id": deep}, "nested_too_deep"), ({"install_id": half}, "not_json")], key=str
    )
    assert_others_are_there(company, victims)


def test_a_reader_that_fails_in_an_unknown_way_costs_one_record(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of ours that one record meets is told by the error's type, without its text."""
    victim = next(company.world.truth.installs()).install_id
    real = INSTALLS.read_usual

    def failing(data: bytes) -> Any:
        if f'"id":{victim}'.encode() in data:
            return None
        return real(data) if real else None

    def read(record: Any) -> Any:
        raise KeyError(f"Ada Lovelace {record['id']}")

    resource = INSTALLS
    monkeypatch.setitem(resource.__dict__, "read_usual", failing)
    monkeypatch.setitem(resource.__dict__, "read", _as_declared(read))
    report = company.poll(PollResource.INSTALLS)
    assert report.quarantined == 1
    assert company.rows("select reason, key from sync.quarantine") == [
        ("unreadable: KeyError", {"install_id": victim})
    ]
    assert len(company.mirror("installs", ["install_id"])) == 59


def _as_declared(read: Any) -> Any:
    from enerflo_sync.resources.resource import Part, Resource

    return Resource("x", "id", (Part(INSTALLS.table),), read, frozenset()).read


def test_a_row_that_cannot_be_written_out_costs_one_record(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = next(company.world.truth.installs()).install_id
    real = encoding.encode

    def encode(connection: Any, rows: Any) -> Any:
        if any(row[0] == victim for row in rows):
            raise ValueError("Ada Lovelace")
        return real(connection, rows)

    monkeypatch.setattr(encoding, "encode", encode)
    assert company.poll(PollResource.INSTALLS).quarantined == 1
    assert company.rows("select reason, key from sync.quarantine") == [
        ("unreadable: ValueError", {"install_id": victim})
    ]
    # The record itself is kept, to be taken in again.
    ((payload,),) = company.rows("select payload from sync.quarantine")
    assert msgspec.json.decode(bytes(payload))["id"] == victim
    assert len(company.mirror("installs", ["install_id"])) == 59


@pytest.mark.parametrize("sqlstate", ["P0001", "23514", "22001"])
def test_a_record_that_a_trigger_of_the_mirror_refuses_is_put_aside_alone(
    company: Company, sqlstate: str
) -> None:
    victim = next(company.world.truth.installs()).install_id
    with company.warehouse.begin() as connection:
        connection.exec_driver_sql(
            f"""
            create function enerflo.refuse() returns trigger language plpgsql as $$ begin
              if new.install_id = {victim} then
                raise exception 'no %% here', new.customer_name using errcode = '{sqlstate}';
              end if;
              return new;
            end $$;
            create trigger refuse before insert or update on enerflo.installs
              for each row execute function enerflo.refuse();
            """
        )
    report = company.poll(PollResource.INSTALLS)
    assert report.quarantined == 1
    assert company.rows("select reason, key from sync.quarantine") == [
        ("refused_by_the_warehouse", {"install_id": victim})
    ]
    assert len(company.mirror("installs", ["install_id"])) == 59


def test_milestones_of_one_install_that_the_warehouse_refuses_hold_no_other(company: Company) -> None:
    """The list does not tell milestones: they come by direct reads."""
    company.lean_lists = True
    victim = sorted(row.install_id for row in company.world.truth.installs())[30]
    refuse(company.warehouse, "milestones", "install_id", victim)
    report = company.poll(details=100)
    assert report.state is RunState.PARTIAL
    assert company.rows("select table_name, key, reason from sync.quarantine") == [
        ("milestones", {"install_id": victim}, "refused_by_the_warehouse")
    ]
    assert len({one for (one,) in company.mirror("milestones", ["install_id"])}) == 59
    with company.warehouse.begin() as connection:
        connection.exec_driver_sql("drop trigger refuse on enerflo.milestones")
    company.poll(details=100)
    company.assert_mirror_is_true()
    assert company.rows("select state from sync.quarantine") == [("replayed",)]


def test_an_unlisted_install_whose_own_answer_the_warehouse_refuses_holds_no_other(company: Company) -> None:
    company.poll()
    gone, victim = (row.install_id for row in list(company.world.truth.installs())[:2])
    company.world.delete_install(gone)
    _leave_out_of_the_list(company, victim)
    refuse(company.warehouse, "installs", "status_id", 4)
    company.world.set_status(victim, 4)
    report = company.poll()
    assert report.state is RunState.PARTIAL
    assert company.rows("select key, reason from sync.quarantine") == [
        ({"install_id": victim}, "refused_by_the_warehouse")
    ]
    living = {one for (one,) in company.mirror("installs", ["install_id"])}
    assert (gone in living, victim in living) == (False, True)


def _leave_out_of_the_list(company: Company, victim: int) -> None:
    company.api_of = api = SandboxApi(company.world, clock=company.clock)
    real = api._route

    def route(request: Request, path: str, key: str) -> Response:
        answer = real(request, path, key)
        if path != "/api/v3/installs":
            return answer
        page = msgspec.json.decode(answer.body)
        page["results"] = [row for row in page["results"] if row["id"] != victim]
        page["total"] -= 1
        return Response(answer.status, answer.headers, msgspec.json.encode(page))

    api._route = route  # type: ignore[method-assign]


def test_a_status_that_the_warehouse_refuses_holds_no_other(company: Company) -> None:
    refuse(company.warehouse, "install_statuses", "status_id", 4)
    report = company.poll()
    assert report.state is RunState.PARTIAL
    assert company.rows("select table_name, key, reason from sync.quarantine") == [
        ("install_statuses", {"status_id": 4}, "refused_by_the_warehouse")
    ]
    listed = {status.status_id for status in company.world.truth.statuses()}
    assert {one for (one,) in company.mirror("install_statuses", ["status_id"])} == listed - {4}
    assert company.mirror("notes", ["note_id"])


NAMES = sorted(
    {*FIELDS, *INSTALLS.known_fields, *CUSTOMERS.known_fields}
    | set("name date timezone milestone change_values adders panel old new".split())
)
_SCALARS = st.one_of(
    st.sampled_from(sorted(VALUES.values(), key=len)[:-4]),
    st.integers(-(10**320), 10**320).map(lambda number: str(number).encode()),
    st.from_regex(rb"-?[1-9][0-9]{0,20}(\.[0-9]{1,20})?[eE][+-]?[0-9]{1,4}", fullmatch=True),
    st.text(max_size=20).map(msgspec.json.encode),
    st.from_regex(rb'"\\u[dD][89abAB][0-9a-f]{2}"', fullmatch=True),
    st.sampled_from([b"null", b"true", b"[]", b'""', b"0", b"-0", b'"0000-00-00 00:00:00"']),
    st.from_regex(rb'"[0-9]{1,6}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}:[0-9]{2})?"', fullmatch=True),
)


def _object(pairs: list[tuple[str, bytes]]) -> bytes:
    return b"{" + b",".join(b'"' + key.encode() + b'":' + one for key, one in pairs) + b"}"


JSON_TEXT = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: b"[" + b",".join(items) + b"]"),
        st.lists(st.tuples(st.sampled_from(NAMES), inner), max_size=4).map(_object),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fields=st.dictionaries(st.sampled_from(NAMES), JSON_TEXT, min_size=1, max_size=5))
def test_the_readers_raise_nothing_but_bad_record(fields: dict[str, bytes]) -> None:
    record = {"id": 1}
    data = msgspec.json.encode(record)
    for name, value in fields.items():
        data = (
            with_value({}, name, value)
            if name == "id"
            else data[:-1] + b',"' + name.encode() + b'":' + value + b"}"
        )
    for resource in RESOURCES:
        for reader in (resource.record_id, resource.rows_of):
            with suppress(BadRecordError):
                reader(data)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=JSON_TEXT, name=st.sampled_from(NAMES))
def test_a_page_tells_its_other_records_whatever_one_of_them_is(value: bytes, name: str) -> None:
    first, last = b'{"id":1}', b'{"id":3,"x":"a]}\\"b"}'
    page = b'{"results":[' + b",".join([first, with_value({"id": 2}, name, value), last]) + b'],"total":3}'
    listing = decode_answer(page, INSTALL_LIST.envelope.decode)
    assert [bytes(row) for row in (listing.records[0], listing.records[2])] == [first, last]
    assert (len(listing.records), listing.total) == (3, 3)
