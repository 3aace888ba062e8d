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
)
from tests.writes.conftest import Desk


@pytest.fixture
def plain(agreed: Desk) -> Person:
    """A customer that polls alone know, not forgotten yet."""
    state = agreed.a_site()
    one = Person(agreed, state.customer_id, state.install_id)
    one.edited(first_name=FIRST, last_name=LAST, email=EMAIL, mobile=MOBILE, address=ADDRESS, city=CITY)
    run_poll(agreed.context)
    agreed.carried()
    return one


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
