"""What was handed over for a CRM row of one record is no edit once a person gives the row another record."""

from __future__ import annotations

import time

from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.test_changes import approved, handed
from tests.writes.test_changes_of_rows import LEADS, copied_as_said
from tests.writes.test_moved_rows import AT_ONCE, ON_HOLD

DEALS = """tables:
  installs:
    crm_table: crm.deals
    write_to: changes
    key: [item]
    join: {record: install_id}
    updated_at: updated_at
    create_in: []
    fields:
      stage: {enerflo: status_name, type: text, source_of_truth: newest}
"""


def test_a_value_that_arrives_in_a_row_before_a_person_relinks_it_is_a_question(agreed: Desk) -> None:
    agreed.sql(
        "create table crm.deals (item text primary key, record bigint, stage text, updated_at timestamptz)"
    )
    agreed.sql(
        "insert into crm.deals select 'i' || row_number() over (order by install_id), install_id,"
        " status_name, now() - interval '1 day' from enerflo.installs where deleted_at is null"
    )
    mapped(agreed, "both", DEALS, AT_ONCE)
    agreed.carried()
    first, second = agreed.sql("select item, record from crm.deals where stage = 'In progress' limit 2")
    agreed.world.set_status(first["record"], ON_HOLD)
    run_poll(agreed.context)
    agreed.carried()
    (change,) = handed(agreed)
    assert (change["key"], change["after"]) == ({"item": first["item"]}, "On Hold")
    # Enerflo tells whole seconds.
    time.sleep(1.1)
    put = "update crm.deals set stage = 'On Hold', updated_at = now() where item = :item"
    agreed.sql(put, item=first["item"])
    link = "update crm.deals set record = :record, updated_at = now() where item = :item"
    agreed.sql(link, item=first["item"], record=second["record"])
    agreed.sql(link, item=second["item"], record=first["record"])
    # The question stands when nobody looks for the change any more.
    for _ in range(2):
        plan = agreed.plan()
        assert agreed.changes(plan, direction="to_enerflo") == []
        asked = {one.key["item"]: str(one.reason) for one in agreed.undecided(plan)}
        assert "when it named another record of Enerflo" in asked[first["item"]]
        agreed.sql("update sync.crm_changes set ended_at = now()")
    # What a person says is an edit.
    agreed.sql(put.replace("On Hold", "Completed"), item=first["item"])
    plan = agreed.plan()
    (change,) = agreed.changes(plan, key={"item": first["item"]})
    assert (change.direction, change.after) == ("to_enerflo", "Completed")


def test_a_new_row_that_a_person_relinks_before_it_is_seen_is_a_question_whatever_became_of_its_values(
    agreed: Desk,
) -> None:
    """A trigger of the CRM spells phones its own way, so the value is not the one that was handed over."""
    agreed.switched_on("both", LEADS, AT_ONCE)
    agreed.carried()
    new = agreed.world.add_lead({"first_name": "Quentin", "mobile": "5125550111"}, None)
    run_poll(agreed.context)
    approved(agreed)
    key = f"enerflo-{new}"
    assert {row["key"]["lead_id"] for row in handed(agreed)} == {key}
    copied_as_said(agreed, "leads", "lead_id")
    other = agreed.world.add_lead({"first_name": "Rosa", "mobile": "5125550222"}, None)
    run_poll(agreed.context)
    agreed.sql(
        "update crm.leads set mobile = '(512) 555-0111', enerflo_customer_id = :c, updated_at = now()"
        " where lead_id = :k",
        c=other,
        k=key,
    )
    for _ in range(2):
        plan = agreed.plan()
        assert agreed.changes(plan, direction="to_enerflo") == []
        asked = {one.field: str(one.reason) for one in agreed.undecided(plan) if one.key == {"lead_id": key}}
        assert {"first_name", "mobile"} <= asked.keys()
        assert all(
            "when it named another record of Enerflo" in asked[one] for one in ("first_name", "mobile")
        )
        # Nothing is said to be on its way any more.
        assert handed(agreed) == []
    # What a person says is an edit.
    agreed.sql("update crm.leads set mobile = '5125550999', updated_at = now() where lead_id = :k", k=key)
    sent = agreed.changes(agreed.plan(), direction="to_enerflo", key={"lead_id": key})
    assert [(one.field, one.after) for one in sent] == [("mobile", "5125550999")]
