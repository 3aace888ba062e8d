"""Leads at an Enerflo that spells them its own way: what is sent of them, and what goes along."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.apply.enerflo import customers
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.sending import (
    a_round,
    cut_off_after_the_request,
    note,
    posts,
    spelling,
)


def test_a_leads_fields_are_agreed_on_as_enerflo_spells_them(agreed: Desk) -> None:
    desk = agreed
    spelling(desk, "html", "blanks")
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at) values ('L1', 'Jo & Al', 'O''Neil', '5125550100', '12  Main St', 'Boston', 'MA', '02139',"
        " 'qualified', now())"
    )
    assert a_round(desk) > 0
    assert desk.changes(desk.plan()) == []
    desk.sql("update crm.leads set first_name = 'Al & Jo', updated_at = now() where lead_id = 'L1'")
    assert a_round(desk) == 1
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    assert desk.crm("leads", lead_id="L1")["first_name"] == "Al & Jo"
    (row,) = [one for one in desk.world.truth.customers() if one.integration_record_id == "L1"]
    assert (row.first_name, row.last_name) == ("Al &amp; Jo", "O&#x27;Neil")
    assert len(posts(desk)) == 2


def an_agreed_lead(desk: Desk) -> None:
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at) values ('L1', 'Jo', 'O''Neil', '5125550100', '12 Main St', 'Boston', 'MA', '02139',"
        " 'qualified', now())"
    )
    assert a_round(desk) > 0
    assert desk.changes(desk.plan()) == []


def of_lead(desk: Desk) -> Any:
    (row,) = [one for one in desk.world.truth.customers() if one.integration_record_id == "L1"]
    return row


@pytest.mark.parametrize("killed", [False, True])
def test_what_goes_along_with_a_leads_change_and_is_re_spelled_is_nobodys_edit(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    desk = agreed
    an_agreed_lead(desk)
    spelling(desk, "html")
    desk.sql("update crm.leads set mobile = '5125550177', updated_at = now() where lead_id = 'L1'")
    if killed:
        desk.world.received.clear()
        cut_off_after_the_request(desk, monkeypatch)
        desk.sql("update crm.leads set first_name = 'Joe', updated_at = now() where lead_id = 'L1'")
    assert a_round(desk) == 1
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    assert desk.crm("leads", lead_id="L1")["last_name"] == "O'Neil"
    assert of_lead(desk).last_name == "O&#x27;Neil"
    assert of_lead(desk).mobile == "5125550177"


def test_what_goes_along_with_a_leads_change_is_as_enerflo_has_it(agreed: Desk) -> None:
    desk = agreed
    an_agreed_lead(desk)
    desk.world.edit_customer(of_lead(desk).customer_id, {"last_name": "O'N"})
    desk.sql("update crm.leads set mobile = '5125550177', updated_at = now() where lead_id = 'L1'")
    desk.carried()
    assert of_lead(desk).mobile == "5125550177"
    assert of_lead(desk).last_name == "O'N"


def test_a_poll_that_reads_a_lead_while_it_is_read_back_makes_its_spelling_nobodys_edit(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = agreed
    spelling(desk, "html")
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " deal_type_id, updated_at) values ('L1', 'Al & Jo', 'Doe', '+1 (512) 555-0100', '1 A St', 'Austin',"
        " 'Texas', '78701', 'qualified', 7, now())"
    )
    whole = customers._as_answer

    def polled_meanwhile(raw: bytes, reads: object) -> object:
        run_poll(desk.context)
        return whole(raw, reads)

    with monkeypatch.context() as patch:
        patch.setattr(customers, "_as_answer", polled_meanwhile)
        a_round(desk)
    plan = desk.plan()
    assert not desk.changes(plan, table_name="leads", key={"lead_id": "L1"})
    assert desk.agreed("leads", "first_name", lead_id="L1") is not None


@pytest.mark.parametrize("seen_first", [True, False])
def test_a_new_lead_that_was_sent_before_a_kill_is_sent_once_as_enerflo_spells_it(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, seen_first: bool
) -> None:
    desk = agreed
    spelling(desk, "html", "blanks")
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at) values ('L1', 'Jo & Al', 'Doe', '5125550100', '12  Main St', 'Boston', 'MA', '02139',"
        " 'qualified', now())"
    )
    cut_off_after_the_request(desk, monkeypatch)
    if seen_first:
        run_poll(desk.context)
    # Another change, so that the plan is another one.
    note(desk, "N1", desk.a_site().install_id)
    desk.carried()
    for _ in range(2):
        run_poll(desk.context)
        desk.carried()
    assert [one.path for one in posts(desk) if "lead" in one.path] == ["/api/v1/partner/action/lead/add"]
    assert desk.crm("leads", lead_id="L1")["first_name"] == "Jo & Al"
    assert desk.changes(desk.plan()) == []
