"""Every event that is known: which record it concerns, and which it is not taken for."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.inbox.identify import EventState, identify
from enerflo_sync.inbox.kinds import KINDS, UNASKED, USED
from tests.inbox.conftest import sample

UUID = "9CCCFEE4-3043-5cb1-9907-36a45a78b39f"
LOW = UUID.lower()
INSTALL_EVENTS = ["new_install", "submit_install", "update_install", "restore_install"]
DEAL_EVENTS = ["deal.projectSubmitted", "deal.projectReceived"]
IGNORED_V1 = [
    *("new_appointment", "update_appointment", "confirm_appointment", "delete_appointment"),
    *("complete_survey", "new_survey", "update_survey", "new_note", "new_design_request"),
]
IGNORED_V2 = [
    *("customer.updated", "deal.created.bare", "deal.created", "deal.updated.bare", "deal.updated"),
    *("deal.updated.v2", "design-request.created", "design-request.created.design-team"),
    *("design-request.updated", "design-request.updated.design-team", "design.created", "design.updated"),
]


def v1(event: str, **fields: Any) -> dict[str, Any]:
    return {"webhook_event": event, **fields}


def v2(event: str, **payload: Any) -> dict[str, Any]:
    return {"event": event, "payload": payload}


@pytest.mark.parametrize("event", INSTALL_EVENTS)
@pytest.mark.parametrize(("given", "key"), [(5, "5"), ("5", "5"), (2**63 - 1, str(2**63 - 1))])
def test_v1_install_events(event: str, given: Any, key: str) -> None:
    found = identify(v1(event, id=given, deal_id=77, customer={"id": 9}))
    assert (found.state, found.record, found.install_id) == (EventState.RECEIVED, f"installs/{key}", int(key))


def test_update_install_in_both_shapes() -> None:
    real = sample("update_install")
    flat = v1("update_install", id=4400001, status_id=323, survey_id=1, epc_company_id=2)
    assert identify(real).record == identify(flat).record == "installs/4400001"
    # What v1 calls deal_id is no v2 uuid.
    assert identify(real).deal_id is None


@pytest.mark.parametrize("event", DEAL_EVENTS)
def test_v2_deal_events(event: str) -> None:
    found = identify(v2(event, deal={"id": UUID}))
    assert (found.state, found.record, found.deal_id) == (EventState.RECEIVED, f"deals/{LOW}", LOW)


@pytest.mark.parametrize("event", ["new_customer", "update_customer"])
def test_v1_customer_events(event: str) -> None:
    found = identify({**sample("new_customer"), "webhook_event": event})
    assert (found.record, found.install_id) == ("customers/2860314", None)


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("customer.created", {"customer": {"id": UUID}}),
        ("customer.updated.v2", {"current": {"id": UUID}, "previous": {"id": "x"}, "changes": {}}),
        ("customer.updated.v2", {"customer": {"id": UUID}}),
    ],
)
def test_v2_customer_events(event: str, payload: Any) -> None:
    assert identify(v2(event, **payload)).record == f"customers/{LOW}"


@pytest.mark.parametrize(
    ("fields", "install"),
    [
        ({"id": 9, "note_id": 5}, 9),
        ({"id": 5, "epc_install_id": 9}, 9),
        ({"id": 5, "install_id": "9"}, 9),
        ({"id": 5, "install": {"id": 9}}, 9),
        ({"id": 5, "epc_install_id": None, "install": []}, 5),
    ],
)
def test_note_events_in_every_likely_shape(fields: Any, install: int) -> None:
    found = identify(v1("new_install_note", **fields))
    assert (found.record, found.install_id) == (f"notes_of/{install}", install)


@pytest.mark.parametrize(
    ("fields", "install"),
    [
        ({"id": 9, "milestone": {"id": 3}}, 9),
        ({"id": 5, "epc_install_id": 9}, 9),
        ({"id": 5, "install": {"id": 9}}, 9),
        ({"milestone": {"id": 3, "epc_install_id": 9}}, 9),
    ],
)
def test_milestone_events_in_every_likely_shape(fields: Any, install: int) -> None:
    found = identify(v1("project_milestone_updated", **fields))
    assert (found.record, found.install_id) == (f"installs/{install}", install)


def test_a_signed_order_asks_for_the_orders_and_the_install() -> None:
    found = identify(v1("signed_change_order", id=9, change_orders=[{"id": 3}], install={"id": 9}))
    assert (found.record, found.install_id) == ("change_orders_of/9", 9)
    needs = {str(need) for need in KINDS["signed_change_order"].needs("change_orders_of/9")}
    assert needs == {"change_orders_of/9", "installs/9"}


@pytest.mark.parametrize("event", [*IGNORED_V1, *IGNORED_V2])
def test_known_events_of_no_interest_are_ignored_whatever_they_hold(event: str) -> None:
    for body in (v1(event), v2(event), v1(event, id="../../x")):
        found = identify(body)
        assert (found.state, found.event, found.record) == (EventState.IGNORED, event, None)


@pytest.mark.parametrize("kind", USED, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "wrong",
    [
        "../../x",
        "1/../2",
        " 1",
        "1 ",
        "0",
        "-1",
        "1e3",
        "٣",
        0,
        -1,
        1.5,
        True,
        {"a": 1},
        [1],
        2**63,
        1e25,
        "x" * 10_000,
    ],
)
def test_no_other_text_gets_into_a_path(kind: Any, wrong: Any) -> None:
    field = {"id": wrong}
    body = {"id": wrong, "payload": {"deal": field, "customer": field, "current": field}}
    name = {"event": kind.name} if "." in kind.name else {"webhook_event": kind.name}
    found = identify({**body, **name})
    assert found.state is EventState.QUARANTINED
    assert found.trouble is not None
    assert found.record is None
    assert str(wrong) not in (found.reason or "") or str(wrong) in ("0", "1", "-1")


@pytest.mark.parametrize("kind", USED, ids=lambda kind: kind.name)
def test_wrong_types_everywhere_only_quarantine(kind: Any) -> None:
    name = {"event": kind.name} if "." in kind.name else {"webhook_event": kind.name}
    for payload in (None, [], "x", 5, {"deal": []}, {"customer": "x", "current": 5}, {"deal": {"id": []}}):
        for root in ({}, {"id": None}, {"id": ""}, {"id": []}):
            found = identify({**root, "payload": payload, **name})
            assert found.state in (EventState.QUARANTINED, EventState.IGNORED)


@pytest.mark.parametrize("name", [None, "", "  ", 5, [], {}, True])
def test_an_event_without_a_name(name: Any) -> None:
    found = identify({"webhook_event": name, "id": 1})
    assert (found.state, found.event) == (EventState.QUARANTINED, "?")


def test_every_event_of_the_issue_is_used() -> None:
    expected = {*INSTALL_EVENTS, *DEAL_EVENTS, "new_customer", "update_customer", "new_install_note"}
    expected |= {
        "project_milestone_updated",
        "signed_change_order",
        "customer.created",
        "customer.updated.v2",
    }
    assert {kind.name for kind in USED} == expected
    ignored = {name for name, kind in KINDS.items() if kind.ignored}
    assert ignored | UNASKED == {*IGNORED_V1, *IGNORED_V2}
