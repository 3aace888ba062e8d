"""Designs, customers and change orders that are derived again from the payloads that brought them."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sandbox.exchange import Response
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.runs import RunState
from tests.inbox.conftest import Inbox, answering, sample, update_install
from tests.rebuild.conftest import counts, damage, run_rebuild, snapshot, table

REFUSAL = Response(403, {"content-type": "application/json"}, b'{"message":"This action is unauthorized."}')
DESIGN = "deal_id = (select min(deal_id) from enerflo.submissions)"


@pytest.mark.parametrize(
    "statement",
    [
        "delete from enerflo.submissions",
        f"delete from enerflo.submissions where {DESIGN}",
        f"update enerflo.submissions set panel_count = 1, street = 'Nowhere 1', adders = '[]' where {DESIGN}",
        f"update enerflo.submissions set install_id = null, sources = '{{}}' where {DESIGN}",
        f"update enerflo.submissions set evidence = 'file:///x', first_seen_at = now() where {DESIGN}",
        f"update enerflo.submissions set content_hash = 'x' where {DESIGN}",
    ],
)
def test_designs_are_what_their_events_say(lived: Inbox, statement: str) -> None:
    before = snapshot(lived, versions=False)
    assert damage(lived, statement) > 0
    report = run_rebuild(lived)
    assert set(counts(report)) == {"submissions"}
    assert snapshot(lived) == before
    assert counts(run_rebuild(lived)) == {}


def test_personal_data_of_a_design_is_masked(lived: Inbox) -> None:
    damage(lived, f"update enerflo.submissions set street = 'Nowhere 1' where {DESIGN}")
    (field,) = table(run_rebuild(lived, write=False), "submissions").fields
    (found,) = field.samples
    assert (field.field, found.before) == ("street", "[9 characters]")
    assert "characters]" in found.after


def test_a_design_without_its_event_stays(lived: Inbox) -> None:
    before = snapshot(lived)
    damage(lived, f"delete from sync.webhook_events where {DESIGN} and event like 'deal.project%'")
    report = run_rebuild(lived)
    assert counts(report) == {}
    assert report.left["submissions"]["its event is not kept"] >= 1
    assert snapshot(lived) == before


def test_the_same_version_of_two_events_stays_with_the_one_that_brought_it(polled: Inbox) -> None:
    """The event that arrived first was applied last."""
    body = sample("deal.projectSubmitted")
    body["payload"]["deal"]["id"] = polled.world.installs.get(2).deal_id
    first = polled.drop({**body, "event": "deal.projectReceived"}, "first.json")
    late = first.read_bytes()
    first.unlink()
    polled.clock.advance(60)
    polled.drop(body, "second.json")
    polled.ingest()
    polled.drop(late, "first.json")
    polled.ingest()
    damage(
        polled,
        "update sync.webhook_events set received_at = received_at - interval '1 hour' where event like '%Received'",
    )
    assert polled.rows("select event from enerflo.submissions") == [("deal.projectSubmitted",)]
    before = snapshot(polled, versions=True)
    assert counts(run_rebuild(polled)) == {}
    assert snapshot(polled, versions=True) == before


def test_a_design_that_cannot_be_read_any_more_is_said_and_stays(lived: Inbox) -> None:
    before = snapshot(lived)
    damage(
        lived,
        f"""update sync.webhook_events set body = (jsonb_set(body::jsonb, '{{payload,proposal}}',
            '{{"pricingOutputs": {{"grossCost": "much"}}}}'))::json
            where {DESIGN} and event like 'deal.project%'""",
    )
    report = run_rebuild(lived)
    (unread,) = report.unreadable
    assert (unread.table_name, unread.reason) == ("submissions", "expected_number at grossCost")
    assert list(unread.keys[0]) == ["event_id"]
    assert (report.state, report.needs_a_person) == (RunState.PARTIAL, True)
    assert snapshot(lived) == before


def test_only_designs_of_the_installs_that_fit(lived: Inbox) -> None:
    damage(lived, "update enerflo.submissions set net_cost = 1")
    (one,) = lived.rows("select min(install_id) from enerflo.submissions")[0]
    deals = lived.one("select count(*) from enerflo.submissions where install_id = :i", i=one)
    report = run_rebuild(lived, where=f"install_id = {one}")
    assert counts(report) == {"submissions": (0, deals, 0)}
    assert "submissions" not in report.left


def told_customer(inbox: Inbox) -> None:
    """A customer whom the key may not read stands in the mirror as its event says."""
    answering(inbox, "/api/v3/customers/2860314", REFUSAL)
    inbox.drop(sample("new_customer"))
    inbox.ingest()
    assert inbox.one("select count(*) from enerflo.customers") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "update enerflo.customers set email = 'else@example.com', created_at = null",
        "delete from enerflo.customers",
    ],
)
def test_a_customer_that_only_a_payload_tells_is_what_it_says(inbox: Inbox, statement: str) -> None:
    told_customer(inbox)
    before = snapshot(inbox, ("observed_at",))
    damage(inbox, statement)
    report = run_rebuild(inbox)
    assert set(counts(report)) == {"customers"}
    assert snapshot(inbox, ("observed_at",)) == before
    assert counts(run_rebuild(inbox)) == {}


def test_a_customer_of_the_list_is_not_what_an_old_payload_says(polled: Inbox) -> None:
    (known,) = polled.rows("select min(customer_id) from enerflo.customers")[0]
    polled.drop(
        {"webhook_event": "update_customer", "id": known, "first_name": "Old", "email": "x@example.com"}
    )
    polled.ingest()
    damage(polled, "update enerflo.customers set first_name = 'Wrong' where customer_id = :i", i=known)
    report = run_rebuild(polled)
    assert counts(report) == {}
    total = polled.one("select count(*) from enerflo.customers")
    assert report.left["customers"] == {
        "read from Enerflo, of which no raw copy is kept: a poll reads it again": total
    }
    damage(polled, "delete from enerflo.customers where customer_id = :i", i=known)
    assert counts(run_rebuild(polled)) == {}, "the next poll reads it"


def told_order(inbox: Inbox) -> int:
    """A change order that the key may not read stands in the mirror as its event says."""
    one = inbox.world.install_id(0)
    inbox.drop(update_install(one))
    inbox.ingest()
    answering(inbox, f"/api/v3/installs/{one}/change-order-data", Response(404, {}, b"{}"))
    values = {
        "modul": {"old": "A", "new": "B"},
        "adders": {"new": [{"id": "7", "name": "Trench", "cost": 10, "quantity": 1}], "old": []},
    }
    order = {"id": 987_654, "status": "signed", "change_values": values}
    inbox.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": [order]})
    inbox.ingest()
    assert inbox.rows("select change_order_id, panel_type_new, observed_by from enerflo.change_orders") == [
        (987_654, None, "webhook")
    ]
    return one


@pytest.mark.parametrize(
    "statement",
    [
        "update enerflo.change_orders set status = 'lost'",
        "update enerflo.change_order_adders set cost = 11",
        "delete from enerflo.change_order_adders",
        "delete from enerflo.change_orders",
        "insert into enerflo.change_order_adders select account, change_order_id, 'x', side, name, cost, quantity,"
        " active, observed_at, observed_by from enerflo.change_order_adders",
    ],
)
def test_a_change_order_that_only_a_payload_tells_is_what_it_says(inbox: Inbox, statement: str) -> None:
    told_order(inbox)
    before = snapshot(inbox, ("observed_at",))
    damage(inbox, statement)
    report = run_rebuild(inbox)
    assert report.differing == 1
    after = snapshot(inbox, ("observed_at",))
    after["change_order_adders"] = {row for row in after["change_order_adders"] if "x" not in row}
    assert after == before
    assert inbox.one("select count(*) from enerflo.change_order_adders where deleted_at is null") == 1
    assert counts(run_rebuild(inbox)) == {}


def test_other_keys_of_components_are_read_from_the_stored_payload(inbox: Inbox) -> None:
    """A change of the mapping: what stands under other keys of ``change_values`` is found now."""
    told_order(inbox)
    report = run_rebuild(inbox, component_keys=ComponentKeys(panel=("modul",)))
    assert counts(report) == {"change_orders": (0, 1, 0)}
    assert inbox.rows("select panel_type_old, panel_type_new from enerflo.change_orders") == [("A", "B")]


def test_a_payload_is_found_whatever_the_keys_by_which_its_row_was_read(inbox: Inbox) -> None:
    told_order(inbox)
    damage(inbox, "delete from enerflo.change_orders")
    run_rebuild(inbox, component_keys=ComponentKeys(panel=("modul",)))
    assert inbox.rows("select panel_type_new from enerflo.change_orders") == [("B",)]
    assert counts(run_rebuild(inbox)) == {"change_orders": (0, 1, 0)}
    assert inbox.rows("select panel_type_new from enerflo.change_orders") == [(None,)]


def test_orders_of_a_deleted_install_do_not_come_back(inbox: Inbox) -> None:
    one = told_order(inbox)
    damage(inbox, "delete from enerflo.change_orders")
    damage(inbox, "update enerflo.installs set deleted_at = now() where install_id = :i", i=one)
    assert "change_orders" not in counts(run_rebuild(inbox))


def test_a_payload_that_cannot_be_read_any_more_is_put_aside(inbox: Inbox) -> None:
    told_order(inbox)
    keys: Any = ComponentKeys(panel_count=("modul",))
    report = run_rebuild(inbox, component_keys=keys, tables=[RebuildTable.CHANGE_ORDERS])
    assert [(one.table_name, one.reason) for one in report.unreadable] == [
        ("change_orders", "expected_whole_number at change_values.modul.old")
    ]
    assert inbox.rows("select kind, table_name, state from sync.quarantine") == [
        ("record", "change_orders", "open")
    ]
    assert inbox.one("select count(*) from enerflo.change_orders where raw_hash is not null") == 1


def test_the_runs_counts_of_events_add_up(lived: Inbox) -> None:
    damage(lived, f"delete from enerflo.submissions where {DESIGN}")
    report = run_rebuild(lived, tables=[RebuildTable.SUBMISSIONS, RebuildTable.CUSTOMERS])
    (row,) = lived.rows(
        "select state, read - applied - unchanged - quarantined - skipped, applied from sync.runs"
        " where run_id = :r",
        r=report.run_id,
    )
    assert row == ("ok", 0, report.differing)
