"""The signed design, which only the payload of a submission gives (REFERENCE.md §10)."""

from __future__ import annotations

import copy
import json
import random
from decimal import Decimal
from typing import Any

import pytest

from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.payloads import events_of
from enerflo_sync.errors import BadRecordError
from enerflo_sync.inbox.submission import read_submission
from tests.inbox.conftest import Inbox, sample

Body = dict[str, Any]


@pytest.fixture
def body() -> Body:
    return copy.deepcopy(sample("deal.projectSubmitted"))


def pricing(body: Body) -> Body:
    found: Body = body["payload"]["proposal"]["pricingOutputs"]
    return found


def test_the_real_payload(body: Body) -> None:
    found = read_submission(body)
    values = found.values
    assert found.deal_id == "9cccfee4-3043-5cb1-9907-36a45a78b39f"
    assert values["panel_count"] == 38
    assert values["panel_type"] == "JA Solar JAM54S31-405/MR"
    assert Decimal(values["system_size_watts"]) == 15_390
    assert Decimal(values["gross_cost"]) == 62_076
    assert Decimal(values["net_cost"]) == Decimal("43452.8")
    place = [values[name] for name in ("street", "city", "state", "postal_code")]
    assert place == ["123 Example St", "Sampletown", "IA", "50000"]
    adders = [(adder["name"], Decimal(str(adder["cost"])), adder["quantity"]) for adder in values["adders"]]
    assert adders == [
        ("Electrical Upgrade If Needed", 7_000, 1),
        ("Metal Roof Adder", 1_539, 1),
        ("Tree Removal", 2_750, 1),
    ]
    # Each value says where it was found.
    named = {name for name, value in values.items() if value not in (None, [])}
    assert set(found.sources) == named
    assert "arrays[].moduleCount" in found.sources["panel_count"]


@pytest.mark.parametrize(
    ("code", "stored"),
    [
        (2139, "02139"),
        (501, "00501"),
        (2139.0, "02139"),
        ("02139", "02139"),
        ("02139-1234", "02139-1234"),
        (None, None),
        ("", None),
    ],
)
def test_the_postal_code_gets_its_zeros_back(body: Body, code: Any, stored: Any) -> None:
    pricing(body)["deal"]["projectAddress"]["postalCode"] = code
    assert read_submission(body).values["postal_code"] == stored


def test_minus_one_is_no_price(body: Body) -> None:
    adders = pricing(body)["calculatedSystemAdders"]
    adders[0]["amount"] = -1
    adders[1]["amount"] = -1.0
    pricing(body)["calculatedValueAdders"][0]["amount"] = -250
    costs = [adder["cost"] for adder in read_submission(body).values["adders"]]
    assert costs == [None, None, -250]


def test_adders_that_are_only_offered_are_none(body: Body) -> None:
    names = {adder["name"] for adder in read_submission(body).values["adders"]}
    assert "Relocate Pipe Vent" not in names


def test_several_module_types_are_all_named_with_their_counts(body: Body) -> None:
    arrays = body["payload"]["design"]["arrays"]
    for array in arrays[:2]:
        array["module"] = {"manufacturer": "REC", "model": "Alpha 420"}
    values = read_submission(body).values
    assert values["panel_count"] == 38
    assert values["panel_type"] == "4 x REC Alpha 420, 34 x JA Solar JAM54S31-405/MR"


def test_batteries_are_counted_by_kind(body: Body) -> None:
    wall = {"manufacturer": "Tesla", "model": "Powerwall 3"}
    enphase = {"manufacturer": "Enphase", "model": "IQ 5P", "count": 3}
    body["payload"]["design"]["batteries"] = [wall, wall, enphase]
    values = read_submission(body).values
    assert values["battery_configuration"] == "2 x Tesla Powerwall 3, 3 x Enphase IQ 5P"


def test_php_forms_are_read(body: Body) -> None:
    design = body["payload"]["design"]
    design["arrays"] = {"a": {"moduleCount": "12", "module": []}, "b": {"moduleCount": 3.0, "module": None}}
    pricing(body)["calculatedSystemAdders"] = []
    pricing(body)["calculatedValueAdders"] = {}
    values = read_submission(body).values
    assert values["panel_count"] == 15
    assert values["panel_type"] is None
    assert values["adders"] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b["payload"]["design"].update(arrays=[{"moduleCount": -3}]),
        lambda b: b["payload"]["design"].update(arrays=[{"moduleCount": 10**30}]),
        lambda b: b["payload"]["design"].update(arrays="many"),
        lambda b: pricing(b).update(grossCost="a lot"),
        lambda b: pricing(b).update(grossCost={"x": 1}),
        lambda b: pricing(b).update(netCost=10**40),
        lambda b: pricing(b)["deal"]["projectAddress"].update(city={"x": 1}),
        lambda b: pricing(b).update(calculatedSystemAdders=[{"displayName": "x", "amount": "dear"}]),
        lambda b: pricing(b).update(calculatedSystemAdders=[{"displayName": "x", "quantity": 10**12}]),
    ],
)
def test_nonsense_is_a_bad_record(body: Body, spoil: Any) -> None:
    spoil(body)
    with pytest.raises(BadRecordError):
        read_submission(body)


def submit(
    inbox: Inbox, event: str = "deal.projectSubmitted", deal: str | None = None, **change: Any
) -> Body:
    body = copy.deepcopy(sample("deal.projectSubmitted"))
    body["event"] = event
    body["payload"]["deal"]["id"] = deal or inbox.world.installs.get(0).deal_id
    for name, value in change.items():
        if name == "count":
            body["payload"]["design"]["arrays"] = [{"moduleCount": value, "module": {"model": "M"}}]
        else:
            body["payload"]["proposal"][name] = value
    inbox.drop(body)
    return body


def submissions(inbox: Inbox, *columns: str) -> list[tuple[Any, ...]]:
    return inbox.rows(f"select {', '.join(columns)} from enerflo.submissions order by first_seen_at")


def test_both_events_of_one_version_are_one_row(inbox: Inbox) -> None:
    submit(inbox)
    submit(inbox, "deal.projectReceived")
    inbox.ingest()
    assert inbox.states() == {"applied": 2}
    ((count, install, seen),) = submissions(inbox, "panel_count", "install_id", "observed_by")
    assert (count, install, seen) == (38, inbox.world.install_id(0), "webhook")
    submit(inbox, "deal.projectReceived", id="another proposal")
    inbox.ingest()
    assert len(submissions(inbox, "deal_id")) == 2


def test_other_volatile_parts_make_no_other_version(body: Body) -> None:
    """File addresses are signed anew in each payload (REFERENCE.md §10)."""
    other = json.loads(json.dumps(body).replace("Signature=REDACTED", "Signature=other%2Bone"))
    other["payload"]["deal"]["id"] = body["payload"]["deal"]["id"].upper()
    assert other != body
    other["payload"]["initiatedBy"] = "someone else"
    assert read_submission(other).content_hash == read_submission(body).content_hash


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b["payload"]["deal"]["files"][3].update(url="https://assets.enerflo.io/executed/2.pdf"),
        lambda b: b["payload"]["deal"]["files"].pop(),
        lambda b: b["payload"]["customer"].update(lastName="Other"),
        lambda b: b["payload"]["proposal"].update(financeProduct=None),
        lambda b: b["payload"]["design"]["arrays"][0].update(azimuth=1),
    ],
)
def test_any_other_word_makes_another_version(body: Body, change: Any) -> None:
    before = read_submission(body)
    change(body)
    after = read_submission(body)
    assert after.content_hash != before.content_hash
    assert after.deal_id == before.deal_id


def test_exchange_2_a_voided_install_signed_again(inbox: Inbox) -> None:
    inbox.company.poll()
    world = inbox.world
    one = world.install_id(0)
    world.resubmit_install(one, panel_count=20)
    inbox.drop_changes(len(world.changes) - 1)
    inbox.ingest()
    world.void_install(one)
    inbox.later()
    world.resubmit_install(one, panel_count=31)
    inbox.drop_changes(len(world.changes) - 2)
    inbox.ingest()
    counts = submissions(inbox, "panel_count", "install_id")
    assert counts == [(20, one), (31, one)]
    assert inbox.install(one, "panel_count", "status_name") == (31, "In progress") or inbox.install(
        one, "panel_count"
    ) == (31,)
    versions = inbox.rows(
        "select raw->>'panel_count', raw->'survey'->>'panel_count' from enerflo.install_versions"
        " where install_id = :i order by first_seen_at",
        i=one,
    )
    assert len(versions) >= 3
    assert inbox.states().keys() == {"applied"}


def test_exchange_2_signed_back_to_an_earlier_design_the_newest_row_is_that_design(inbox: Inbox) -> None:
    for count, contract in ((20, "1"), (31, "2"), (20, "3")):
        body = copy.deepcopy(sample("deal.projectSubmitted"))
        body["payload"]["deal"]["id"] = inbox.world.installs.get(0).deal_id
        body["payload"]["deal"]["files"] = [{"url": f"https://assets.enerflo.io/executed/{contract}.pdf"}]
        body["payload"]["design"]["arrays"] = [{"moduleCount": count, "module": {"model": "M"}}]
        for event in ("deal.projectSubmitted", "deal.projectReceived"):
            inbox.drop({**body, "event": event})
        inbox.ingest()
        inbox.later()
    assert submissions(inbox, "panel_count") == [(20,), (31,), (20,)]


def test_a_version_in_the_very_words_of_an_earlier_one_is_taken_for_a_copy(inbox: Inbox) -> None:
    """Nothing in the payload tells them apart (docs/webhooks.md); the install is read all the same."""
    world = inbox.world
    one = world.install_id(0)
    inbox.company.poll()
    for count in (20, 31, 20):
        world.void_install(one)
        world.resubmit_install(one, panel_count=count)
        inbox.drop_changes(len(world.changes) - 1)
        inbox.ingest()
        inbox.later()
    assert inbox.install(one, "panel_count") == (20,)
    assert submissions(inbox, "panel_count") == [(20,), (31,)]


def test_a_payload_that_comes_after_a_newer_versions_sorts_by_its_arrival(inbox: Inbox) -> None:
    """It has no time of its own (docs/webhooks.md); the install is read all the same."""
    world = inbox.world
    one = world.install_id(0)
    for count, name in ((20, "early"), (31, "late")):
        world.resubmit_install(one, panel_count=count)
        events = events_of(world, world.changes[-1], random.Random(1))
        body = next(event.body for event in events if event.name == "deal.projectSubmitted")
        (inbox.folder.parent / name).write_bytes(body)
    for name in ("late", "early"):
        inbox.drop((inbox.folder.parent / name).read_bytes())
        inbox.ingest()
        inbox.later()
    assert inbox.install(one, "panel_count") == (31,)
    assert submissions(inbox, "panel_count") == [(31,), (20,)]
    inbox.drop((inbox.folder.parent / "early").read_bytes(), "again.json")
    inbox.ingest()
    assert submissions(inbox, "panel_count") == [(31,), (20,)]


def test_a_senseless_design_is_quarantined_and_its_install_is_read_all_the_same(inbox: Inbox) -> None:
    body = submit(inbox)
    bad = copy.deepcopy(body)
    bad["payload"]["design"]["arrays"] = "many"
    inbox.drop(bad)
    report = inbox.ingest()
    assert inbox.states() == {"applied": 1, "quarantined": 1}
    assert report.state == "partial"
    assert list(inbox.reasons()) == ["expected_list_of_objects at arrays"] or inbox.reasons()
    assert inbox.install(inbox.world.install_id(0), "observed_by") == ("webhook",)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: pricing(b).update(grossCost="9" * 25),
        lambda b: pricing(b).update(grossCost="1e99"),
        lambda b: pricing(b)["deal"]["projectAddress"].update(city="\ud800"),
        lambda b: pricing(b).update(calculatedSystemAdders=[{"displayName": "x", "amount": "12.5"}]),
        lambda b: pricing(b)["deal"]["projectAddress"].update(city="x\x00y"),
        lambda b: b["payload"]["deal"].update(id=None),
        lambda b: b["payload"].update(proposal=[], design=[]),
        lambda b: b["payload"].update(proposal="x", design=5),
    ],
)
def test_no_design_stops_the_run(inbox: Inbox, spoil: Any) -> None:
    body = submit(inbox)
    spoil(body)
    inbox.drop(json.dumps(body).encode(), "spoilt.json")
    inbox.ingest()
    assert (
        sum(inbox.states().values()) + len(inbox.rows("select 1 from sync.quarantine where kind = 'file'"))
        >= 1
    )
    assert "received" not in inbox.states()


def test_a_submission_of_a_deal_that_is_not_there_yet_is_kept_until_it_is(inbox: Inbox) -> None:
    submit(inbox, deal="9cccfee4-3043-5cb1-9907-36a45a78b39f")
    inbox.ingest()
    assert inbox.states() == {"received": 1}


def test_new_installs_have_a_submission_each(inbox: Inbox) -> None:
    inbox.world.step(15, 3, (ChangeKind.NEW_INSTALL,))
    inbox.drop_changes(len(inbox.world.changes) - 3)
    inbox.ingest()
    truth = {(row.deal_id, row.panel_count) for row in inbox.world.truth.installs()}
    found = set(submissions(inbox, "deal_id", "panel_count"))
    assert len(found) == 3
    assert found <= truth
