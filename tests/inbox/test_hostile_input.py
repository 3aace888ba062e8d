"""Hostile records and events cost themselves alone, on every way into the mirror but the poll."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sync.errors import BadRecordError
from enerflo_sync.inbox.identify import identify
from enerflo_sync.inbox.kinds import KINDS
from enerflo_sync.inbox.submission import read_submission
from enerflo_sync.inbox.unpack import Document, unpack
from tests.backfill.conftest import Desk, desk_of
from tests.inbox.conftest import Inbox, NewInbox, sample, update_install
from tests.inbox.replaying import Again
from tests.mirror.hostile import VALUES, plant, with_value
from tests.mirror.test_hostile_records import JSON_TEXT, assert_others_are_there

FIELDS = ("created_at", "system_size", "cost", "quantum_flux")


def victims_of(installs: list[int]) -> dict[int, tuple[str, bytes]]:
    names = list(VALUES)
    return {
        install_id: (FIELDS[at % len(FIELDS)], VALUES[names[at % len(names)]])
        for at, install_id in enumerate(installs)
    }


def ids_of(inbox: Inbox) -> list[int]:
    return sorted(row.install_id for row in inbox.world.truth.installs())


def test_events_about_hostile_records_cost_those_records_alone(
    new_inbox: NewInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = new_inbox(40)
    ids = ids_of(inbox)
    victims = victims_of(ids[::2])
    plant(monkeypatch, inbox.world, victims)
    for install_id in ids:
        inbox.drop(update_install(install_id))
    inbox.ingest()
    assert set(inbox.states()) <= {"applied", "quarantined"}
    applied = {
        one for (one,) in inbox.rows("select install_id from sync.webhook_events where state = 'applied'")
    }
    assert set(ids) - victims.keys() <= applied
    assert set(ids) - victims.keys() <= {one for (one,) in inbox.company.mirror("installs", ["install_id"])}


def test_hostile_payloads_are_put_aside_and_the_others_are_taken_in(inbox: Inbox) -> None:
    good = ids_of(inbox)[0]
    body = (
        sample("v2_project_submitted")
        if Path(__file__).parent.joinpath("samples/v2_project_submitted.json").exists()
        else {}
    )
    for number, value in enumerate(VALUES.values()):
        inbox.drop(with_value(update_install(good), "id", value), f"{number}-id.json")
        inbox.drop(with_value(update_install(good), "x", value), f"{number}-x.json")
        inbox.drop(with_value(update_install(good), "webhook_event", value), f"{number}-event.json")
        inbox.drop(
            b"[" + msgspec.json.encode(update_install(good, n=number)) + b"," + value + b"]",
            f"{number}-list.json",
        )
    inbox.ingest()
    assert inbox.waiting() == []
    assert len(inbox.archived()) == 4 * len(VALUES)
    # Of each list at least the good event, whatever stood beside it.
    listed = inbox.rows("select body ->> 'n' from sync.webhook_events where body ->> 'n' is not null")
    assert {int(number) for (number,) in listed} >= set(range(len(VALUES)))
    assert body is not None


def test_an_event_that_the_warehouse_refuses_is_put_aside_alone_and_replayed(
    polled: Inbox, again: Again
) -> None:
    with polled.warehouse.begin() as connection:
        connection.exec_driver_sql(
            """
            create function sync.refuse() returns trigger language plpgsql as $$ begin
              if new.body ->> 'name' = 'Ada' then raise exception 'no'; end if;
              return new;
            end $$;
            create trigger refuse before insert on sync.webhook_events
              for each row execute function sync.refuse();
            """
        )
    for number in range(20):
        name = "Ada" if number == 7 else 'Eve "\\\\ \t'
        polled.drop(update_install(number + 1, name=name), f"{number}.json")
    report = polled.load()
    assert (report.read, report.applied, report.quarantined) == (20, 19, 1)
    assert polled.states() == {"received": 19}
    ((reason, payload),) = polled.rows("select reason, payload from sync.quarantine")
    assert reason == "refused_by_the_warehouse"
    assert msgspec.json.decode(bytes(payload)) == update_install(8, name="Ada")
    with polled.warehouse.begin() as connection:
        connection.exec_driver_sql("drop trigger refuse on sync.webhook_events")
    again()
    assert polled.one("select count(*) from sync.webhook_events") == 20


@pytest.mark.parametrize("named", [True, False])
def test_a_backfill_meets_hostile_records(
    warehouse: sa.Engine, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk: Desk = desk_of(warehouse)
    ids = sorted(row.install_id for row in desk.world.truth.installs())
    victims = victims_of(ids[: 2 * len(VALUES) : 2])
    plant(monkeypatch, desk.world, victims)
    desk.backfill(desk.named(*ids[:60]) if named else desk.everything())
    there = {one for (one,) in desk.mirror("installs", ["install_id"])}
    assert set(ids[:60] if named else ids) - victims.keys() <= there


def test_a_replay_reads_a_hostile_record_again_and_says_that_it_still_fails(
    polled: Inbox, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    victims = victims_of(ids_of(polled)[:8])
    plant(monkeypatch, polled.world, victims)
    polled.company.poll()
    before = polled.one("select count(*) from sync.quarantine where state = 'open'")
    assert before
    assert {str(one.outcome) for one in again().results} <= {"still failing", "still_failing", "replayed"}
    for install_id in victims:
        polled.world.mend(install_id)
    assert {str(one.outcome) for one in again().results} == {"replayed"}
    assert_others_are_there(polled.company, {})


EVENT_NAMES = sorted(KINDS)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    value=JSON_TEXT,
    name=st.sampled_from(EVENT_NAMES),
    field=st.sampled_from(["id", "payload", "install", "customer"]),
)
def test_unpacking_and_identifying_raise_nothing(value: bytes, name: str, field: str) -> None:
    data = with_value({"webhook_event": name, "event": name}, field, value)
    for part in unpack(b"[" + data + b"," + data + b"]", most_file=10**7, most_event=10**7):
        if isinstance(part, Document):
            identify(part.body)
            with suppress(BadRecordError):
                read_submission(part.body)
