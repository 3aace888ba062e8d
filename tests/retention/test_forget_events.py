"""``enerflo-sync forget`` and events: designs stay readable, and nothing of the person comes with a later event."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from enerflo_sandbox.payloads import events_of
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.rebuild import run_rebuild
from tests.retention.test_forget import (
    ADDRESS,
    CITY,
    EMAIL,
    FIRST,
    LAST,
    MOBILE,
    Person,
    files,
    found,
)
from tests.writes.conftest import Desk
from tests.writes.kept import brought


@pytest.fixture
def plain(agreed: Desk) -> Person:
    """A customer that polls alone know, not forgotten yet."""
    state = agreed.a_site()
    brought(agreed, _polled, state.customer_id, state.install_id)
    return Person(agreed, state.customer_id, state.install_id)


def _polled(agreed: Desk, customer: int, install: int) -> None:
    one = Person(agreed, customer, install)
    one.edited(first_name=FIRST, last_name=LAST, email=EMAIL, mobile=MOBILE, address=ADDRESS, city=CITY)
    run_poll(agreed.context)
    agreed.carried()


def body_of(desk: Desk, event: str) -> bytes:
    events = events_of(desk.world, desk.world.changes[-1], random.Random(1))
    return next(one.body for one in events if one.name == event)


def design_of(person: Person) -> bytes:
    """A design whose number of modules stands in the street, its names in order, as the inbox stores it."""
    person.desk.world.resubmit_install(person.install, panel_count=41)
    body = msgspec.json.decode(body_of(person.desk, "deal.projectSubmitted"))
    count = body["payload"]["design"]["arrays"][0]["moduleCount"]
    deal = body["payload"]["proposal"]["pricingOutputs"]["deal"]
    deal["projectAddress"]["line1"] = f"{count}11 Bay Ln"
    return json.dumps(body, sort_keys=True).encode()


def arrived(desk: Desk, **files: bytes) -> None:
    """Lay files into the drop, and ingest them."""
    for name, data in files.items():
        (Path(desk.environ["WEBHOOK_DROP_URI"]) / f"{name}.json").write_bytes(data)
    run_ingest(desk.context)


def designs(person: Person) -> list[tuple[Any, Any]]:
    rows = person.desk.sql(
        "select panel_count, street from enerflo.submissions where install_id = :i", i=person.install
    )
    return [(row["panel_count"], row["street"]) for row in rows]


def test_a_rebuild_finds_the_design_of_somebody_forgotten(plain: Person) -> None:
    desk = plain.desk
    arrived(desk, design=design_of(plain))
    run_poll(desk.context)
    desk.carried()
    plain.forget()
    desk.sql("delete from enerflo.submissions")
    report = run_rebuild(desk.context, write=True)
    assert not report.unreadable
    assert designs(plain) == [(41, None)]


def test_a_design_that_comes_after_is_stored_without_its_street(plain: Person) -> None:
    plain.forget()
    arrived(plain.desk, design=design_of(plain))
    assert designs(plain) == [(41, None)]


def somebody_else(person: Person) -> Any:
    """An install of another customer."""
    installs = person.desk.world.installs
    states = map(installs.get, installs.live())
    return next(state for state in states if state.customer_id != person.customer)


def test_what_is_somebody_elses_stays_where_both_have_one_address(plain: Person) -> None:
    desk, other = plain.desk, somebody_else(plain)
    desk.world.edit_customer(other.customer_id, {"email": EMAIL})
    desk.told("update_customer")
    cut = b'{"webhook_event": "update_customer", "id": %d, "email": "%s"' % (
        other.customer_id,
        EMAIL.encode(),
    )
    arrived(desk, cut=cut)
    query = "select body::text as body from sync.webhook_events order by event_id"
    before = ({path.name: path.read_bytes() for path in files(desk)}, desk.sql(query))
    report = plain.forget()
    assert ({path.name: path.read_bytes() for path in files(desk)}, desk.sql(query)) == before
    assert desk.one("select payload is not null from sync.quarantine where state = 'open'")
    # Masked, since a report is kept elsewhere.
    assert report.shared == ["…@….example"]


def test_a_design_of_somebody_else_keeps_its_street(plain: Person) -> None:
    desk, other = plain.desk, somebody_else(plain)
    desk.world.resubmit_install(other.install_id, panel_count=41)
    body = msgspec.json.decode(body_of(desk, "deal.projectSubmitted"))
    body["payload"].setdefault("customer", {})["email"] = EMAIL
    arrived(desk, design=msgspec.json.encode(body))
    run_poll(desk.context)
    desk.carried()
    query = f"select street, city, postal_code from enerflo.submissions where install_id = {other.install_id}"
    before, stored = desk.sql(query), [path.read_bytes() for path in files(desk)]
    assert before[0]["street"]
    plain.forget()
    run_rebuild(desk.context, write=True)
    assert desk.sql(query) == before
    assert [path.read_bytes() for path in files(desk)] == stored


def test_an_event_in_two_files_of_one_batch_is_erased_in_both(plain: Person) -> None:
    desk = plain.desk
    plain.forget()
    plain.edited(mobile=MOBILE)
    body = body_of(desk, "update_customer")
    arrived(desk, a=body, b=body)
    assert found(desk) == {}


def test_of_a_file_that_was_cut_off_the_persons_event_stays_nowhere(plain: Person) -> None:
    desk = plain.desk
    plain.forget()
    plain.edited(mobile=MOBILE)
    body = body_of(desk, "update_customer")
    arrived(desk, cut=b"[" + body + b"," + body[:-20])
    assert desk.one("select count(*) from sync.quarantine where state = 'open'") == 1
    assert found(desk) == {}


SENT = """
insert into sync.notifications
  (account, event, route, subject, text, page, page_id, count, state, created_at)
values ('default', 'project_submitted', 'r', 's', :text, 'reports', '', 1, 'sent', now())
"""


def texts_after(person: Person, *sentences: str) -> list[str]:
    for text in sentences:
        person.desk.sql(SENT, text=text)
    person.forget()
    return [row["text"] for row in person.desk.sql("select text from sync.notifications order by 1")]


def test_a_short_name_and_a_city_become_forgotten_beside_each_other(plain: Person) -> None:
    plain.edited(first_name="Xi", last_name="Qy", city="Rye")
    run_poll(plain.desk.context)
    plain.desk.carried()
    assert texts_after(
        plain,
        "1: customer Xi Qy, city Rye, by Xi",
        "2: customer Xi Qyler, city Rye, a Ryegrass",
        f"3: customer (none), street {ADDRESS}, city {CITY}",
    ) == [
        "1: customer (forgotten), city (forgotten), by (forgotten)",
        "2: customer Xi Qyler, city Rye, a Ryegrass",
        "3: customer (none), street (forgotten), city (forgotten)",
    ]


def test_an_event_whose_uuid_nobody_knew_is_erased_once_it_is_read(plain: Person) -> None:
    desk = plain.desk
    plain.forget()
    plain.edited(state="NV", first_name=FIRST, last_name=LAST, email=EMAIL, mobile=MOBILE)
    desk.told("customer.updated.v2")
    assert desk.one("select count(*) from sync.webhook_events where state = 'applied'") == 1
    assert found(desk) == {}
    # Now the receipt tells whose the next one is; a copy that lay elsewhere goes with the next forgetting.
    body = body_of(desk, "customer.updated.v2")
    copy = Path(desk.environ["WEBHOOK_DROP_URI"]).parent / "archive" / "2026" / "01" / "31" / "copy.json"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(body)
    assert EMAIL.encode() in body
    arrived(desk, again=body)
    assert set(found(desk)) == {"copy.json"}
    plain.forget()
    assert found(desk) == {}
