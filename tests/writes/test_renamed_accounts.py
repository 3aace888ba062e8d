"""An account that ``sync.yaml`` calls otherwise by now is not taken for a new one, of which nothing is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sync.backfill.request import BackfillRequest, Kind
from enerflo_sync.errors import RetriableError
from enerflo_sync.jobs.backfill import open_backfills
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.forget import run_forget
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.mirror.company import RenamedAccountError
from tests.writes.conftest import Desk

WEST = ("accounts:\n  default:", "accounts:\n  west:")


def renamed(desk: Desk, *edits: tuple[str, str]) -> AccountContext:
    """Return the account under another name in sync.yaml, with the same key and the same tables."""
    desk.switched_on("both", *(edits or (WEST,)))
    return replace(desk.context, account="west")


def stored(desk: Desk, account: str) -> int:
    return int(desk.one("select count(*) from enerflo.installs where account = :account", account=account))


def in_the_drop(desk: Desk) -> set[str]:
    return {path.name for path in Path(desk.environ["WEBHOOK_DROP_URI"]).iterdir() if path.is_file()}


def test_an_account_under_another_name_reads_nothing_before_a_person_says_that_it_is_another(
    agreed: Desk,
) -> None:
    west = renamed(agreed)
    with pytest.raises(RenamedAccountError) as caught:
        run_poll(west)
    assert "is that of default, which sync.yaml does not name any more" in str(caught.value)
    assert "Name the account default again in sync.yaml" in str(caught.value)
    assert stored(agreed, "west") == 0
    run_poll(west, accept_company=True)
    assert stored(agreed, "west") == stored(agreed, "default") > 0
    # It is known from now on.
    assert run_poll(west).state == "ok"


def test_neither_do_its_webhooks_and_backfills(agreed: Desk) -> None:
    agreed.signs()
    west = renamed(agreed)
    waiting = in_the_drop(agreed)
    assert waiting
    with pytest.raises(RenamedAccountError):
        run_ingest(west)
    # Nothing left the drop: the events are read once the account is called as before.
    assert in_the_drop(agreed) == waiting
    assert agreed.one("select count(*) from sync.webhook_events where account = 'west'") == 0
    with pytest.raises(RenamedAccountError):
        open_backfills(west).backfill(BackfillRequest(Kind.EVERYTHING))
    assert stored(agreed, "west") == 0
    agreed.switched_on("both")
    run_ingest(agreed.context)
    assert in_the_drop(agreed) == set()
    assert agreed.one("select count(*) from sync.webhook_events where state = 'applied'") > 0


def test_a_customer_who_was_forgotten_under_the_name_before_does_not_come_back(agreed: Desk) -> None:
    customer = agreed.one("select min(customer_id) from enerflo.installs where customer_id > 0")
    run_forget(agreed.context, customer, by="Pat", write=True)
    west = renamed(agreed)
    run_poll(west, accept_company=True)
    people = agreed.sql(
        "select first_name, email from enerflo.customers where account = 'west' and customer_id = :id",
        id=customer,
    )
    assert [tuple(row.values()) for row in people] == [(None, None)]


def test_accounts_of_one_company_that_are_both_configured_are_no_former_names(agreed: Desk) -> None:
    text = agreed.context.config_path.read_text()
    body = text[text.index("  default:\n") : text.index("\n\n", text.index("  default:\n"))]
    west = renamed(agreed, (body, body + "\n" + body.replace("  default:", "  west:")))
    assert run_poll(west).state == "ok"
    assert stored(agreed, "west") == stored(agreed, "default")


def test_a_list_that_lacks_its_rows_does_not_show_that_it_is_another_account(agreed: Desk) -> None:
    agreed.signs()
    assert agreed.api is not None
    west = renamed(agreed)
    waiting = in_the_drop(agreed)
    agreed.api.faults = Faults(script=[ScriptedFault(FaultKind.EMPTY_PAGE, "/api/v3/installs", 1, 9)])
    with pytest.raises(RetriableError) as caught:
        run_ingest(west)
    assert "came without the installs that it counts" in str(caught.value)
    assert in_the_drop(agreed) == waiting
    agreed.api.faults = Faults()
    with pytest.raises(RenamedAccountError):
        run_ingest(west)
    assert agreed.one("select count(*) from sync.webhook_events where account = 'west'") == 0


def test_nothing_is_made_at_enerflo_for_an_account_that_read_nothing(agreed: Desk) -> None:
    agreed.sql(
        "insert into crm.leads (lead_id, first_name, last_name, email, mobile, address, city, state, zip, status,"
        " deal_type_id, updated_at) values ('L-1', 'Ann', 'Lee', 'ann.lee@x.example', '(512) 555-0123',"
        " '1 Main St', 'Austin', 'texas', '78701', 'qualified', 3, now())"
    )
    west = renamed(agreed)
    assert [plan.change_count for plan in run_plan(west)] == [0]
    agreed.switched_on("both")
    assert {change.key["lead_id"] for change in agreed.changes(agreed.plan())} == {"L-1"}
