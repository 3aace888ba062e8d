"""``enerflo-sync explain`` where an import gave a row's key to the row of another record."""

from __future__ import annotations

from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk

LEADS = """
select lead_id, enerflo_customer_id as customer from crm.leads
where enerflo_customer_id in (select customer_id from enerflo.customers where deleted_at is null)
order by lead_id limit 2
"""
NAMED = "update crm.leads set last_name = :name, updated_at = now() where lead_id = :id"


def told(desk: Desk, lead: str) -> str:
    found = run_explain(desk.context, "leads", lead, reveal=True, by="Pat", field="last_name")
    return " ".join(render_explanation(found).split())


def test_what_was_written_of_the_record_that_had_the_key_before_is_said_to_be_its_own(agreed: Desk) -> None:
    first, second = agreed.sql(LEADS)
    agreed.sql(NAMED, name="Once", id=first["lead_id"])
    agreed.carried()
    run_poll(agreed.context)
    agreed.plan()
    said = f'The row with this key was of {first["customer"]} then. The CRM said "Once"'
    assert 'The CRM said "Once"' in told(agreed, first["lead_id"])
    assert said not in told(agreed, first["lead_id"])
    agreed.sql("update crm.leads set lead_id = 'moved' where lead_id = :id", id=first["lead_id"])
    agreed.sql(
        "update crm.leads set lead_id = :to where lead_id = :id", to=first["lead_id"], id=second["lead_id"]
    )
    agreed.plan()
    assert said in told(agreed, first["lead_id"])
