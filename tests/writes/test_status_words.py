"""Words of the CRM that stand for several of Enerflo's statuses: nobody chooses one of them."""

from __future__ import annotations

import pytest

from tests.writes.conftest import Desk

QUICK = ("in_flight_minutes: 30", "in_flight_minutes: 0")
STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest"
SEVERAL = "the CRM's word stands for several statuses of the company (values)"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ("{In progress: Active, Pending KCA: Active}", "Active"),
        ("{In progress: Active, Pending KCA: ACTIVE}", "active "),
        # What is not listed stands for itself.
        ("{In progress: Cancelled}", "Cancelled"),
    ],
)
def test_a_word_of_several_statuses_is_a_question(agreed: Desk, values: str, word: str) -> None:
    agreed.switched_on("both", QUICK, (STATUS, f"{STATUS}, values: {values}"))
    agreed.carried()
    agreed.carried()
    held = "select min(enerflo_install_id) from crm.installs where status = 'On Hold'"
    edit = "update crm.installs set status = :status, updated_at = now() where enerflo_install_id = :i"
    site = agreed.one(held)
    agreed.sql(edit, status=word, i=site)
    agreed.world.received.clear()
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert plan.undecided == {SEVERAL: 1}
    # A word of one status is sent as before.
    agreed.sql(edit, status="Completed", i=site)
    (change,) = agreed.changes(agreed.plan())
    assert (change.direction, change.after) == ("to_enerflo", "Completed")


@pytest.mark.parametrize("voided", ["[7]", "[' voided ']"])
def test_an_install_is_not_voided_at_enerflo_whichever_way_the_status_is_named(
    agreed: Desk, voided: str
) -> None:
    number = agreed.one("select status_id from enerflo.install_statuses where name = 'Voided'")
    agreed.switched_on("both", QUICK, ("voided: [Voided]", f"voided: {voided.replace('7', str(number))}"))
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    edit = "update crm.installs set status = 'Voided', updated_at = now() where enerflo_install_id = :i"
    agreed.sql(edit, i=site)
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert plan.kept["Enerflo's may not be voided (void_in)"] == 1
