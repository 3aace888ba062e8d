"""Labels (``values``) of a field that is compared without case or blanks are found without them, too."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.report import Cause
from tests.writes.conftest import Desk
from tests.writes.test_status_words import QUICK, STATUS

EDIT = "update crm.installs set status = :status, updated_at = now() where enerflo_install_id = :i"


@pytest.fixture
def labelled(agreed: Desk) -> Desk:
    """An account whose CRM has words of its own, one of them the name of another status of Enerflo."""
    agreed.switched_on("both", QUICK, (STATUS, f"{STATUS}, values: {{On Hold: Cancelled, Cancelled: Lost}}"))
    agreed.sql("update crm.installs set status = 'Lost' where status = 'Cancelled'")
    agreed.sql("update crm.installs set status = 'Cancelled' where status = 'On Hold'")
    agreed.carried()
    assert agreed.plan().change_count == 0
    return agreed


@pytest.mark.parametrize(("word", "status"), [("cancelled ", "On Hold"), ("LOST", "Cancelled")])
def test_a_word_of_the_crm_in_another_case_is_sent_as_the_status_that_it_stands_for(
    labelled: Desk, word: str, status: str
) -> None:
    site = labelled.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    labelled.sql(EDIT, status=word, i=site)
    plan = labelled.plan()
    assert plan.undecided == {}
    (change,) = labelled.changes(plan)
    assert (change.direction, change.after) == ("to_enerflo", status)
    labelled.carried()
    labelled.settled()


def test_a_status_of_enerflo_in_another_case_is_the_word_that_stands_for_it(labelled: Desk) -> None:
    labelled.sql(
        "update enerflo.installs set status_name = ' ON HOLD', observed_at = now()"
        " where status_name = 'On Hold'"
    )
    (found,) = (
        one for one in run_reconcile(labelled.context, full=True).tables if one.table_name == "installs"
    )
    assert set(found.by_cause) <= {Cause.EQUAL_AFTER_NORMALISATION}
    assert labelled.plan().change_count == 0
    site = labelled.one("select min(install_id) from enerflo.installs where status_name = 'In progress'")
    labelled.sql(
        "update enerflo.installs set status_name = ' ON HOLD', observed_at = now(), updated_at = now()"
        " where install_id = :i",
        i=site,
    )
    (change,) = labelled.changes(labelled.plan())
    assert (change.direction, change.after) == ("to_crm", "Cancelled")


def test_of_labels_that_differ_in_case_the_very_spelling_comes_first_and_then_the_first(agreed: Desk) -> None:
    policy = STATUS.replace("newest", "enerflo, values: {On Hold: Waits, ON HOLD: Sleeps}")
    agreed.switched_on("both", QUICK, (STATUS, policy))
    sites = [
        row["install_id"]
        for row in agreed.sql(
            "select install_id from enerflo.installs where status_name = 'In progress' limit 3"
        )
    ]
    words = dict(zip(sites, ("On Hold", "ON HOLD", "on hold"), strict=True))
    for site, word in words.items():
        agreed.sql(
            "update enerflo.installs set status_name = :word, observed_at = now() where install_id = :i",
            word=word,
            i=site,
        )
    changes = {one.key["enerflo_install_id"]: one.after for one in agreed.changes(agreed.plan())}
    assert [changes[site] for site in sites] == ["Waits", "Sleeps", "Waits"]
