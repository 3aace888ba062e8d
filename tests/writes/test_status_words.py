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
