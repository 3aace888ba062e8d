"""The index of requests whose effect is looked for: it leaves out those that were applied, and costs no CRM write."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.sending import cut_off_after_the_request, due

# What a change to the CRM gets with its outcome.
OF_THE_OUTCOME = {"state", "reason", "done_at", "deleted_row", "row_digest"}
COLUMNS_OF_INDEXES = """
select distinct a.attname as name from pg_index i
join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where i.indrelid = 'sync.plan_changes'::regclass and d.refclassid = 'pg_class'::regclass
  and d.refobjid = i.indrelid
"""
LOOKED_FOR = """
explain select from sync.plan_changes where account = 'default' and table_name = 'milestones'
  and sent_at is not null and confirmed is null and state <> 'applied'
"""


def test_the_outcome_of_a_change_to_the_crm_touches_no_index(agreed: Desk) -> None:
    found = {row["name"] for row in agreed.sql(COLUMNS_OF_INDEXES)}
    assert {"account", "table_name", "sent_at", "confirmed"} <= found
    assert not found & OF_THE_OUTCOME
    agreed.sql("set enable_seqscan = off")
    assert "plan_changes_unconfirmed" in str([tuple(row.values()) for row in agreed.sql(LOOKED_FOR)])


def test_a_request_is_confirmed_once_it_is_applied(agreed: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose process was lost is looked for until its effect was found. What went to the CRM is neither."""
    due(agreed, agreed.a_site().install_id)
    cut_off_after_the_request(agreed, monkeypatch)
    requests = """
        select state, confirmed from sync.plan_changes where direction = 'to_enerflo' and sent_at is not null
        order by sent_at, state"""
    assert [row["confirmed"] for row in agreed.sql(requests)] == [None]
    run_poll(agreed.context)
    agreed.carried()
    found = [(row["state"], row["confirmed"]) for row in agreed.sql(requests)]
    assert ("applied", True) in found
    assert all(confirmed is (True if state == "applied" else None) for state, confirmed in found)
    written = (
        "select count(*) as n from sync.plan_changes where direction = 'to_crm' and confirmed is not null"
    )
    assert agreed.sql(written)[0]["n"] == 0
