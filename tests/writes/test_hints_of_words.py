"""The hint of a difference in a field with ``values`` is about the CRM's word for Enerflo's, not about Enerflo's."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk

STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}"
WORDS = (
    "status: {enerflo: status_name, type: text, values: {In progress: Under way}, source_of_truth: newest}"
)


@pytest.mark.parametrize(
    ("word", "hints"),
    [("In progress", [""]), ("Under way", []), ("Under way ", ["blanks"]), ("under way", ["case"])],
)
def test_the_hint_is_about_the_crms_word(agreed: Desk, word: str, hints: list[str]) -> None:
    agreed.switched_on("report", ("in_flight_minutes: 30", "in_flight_minutes: 0"), (STATUS, WORDS))
    key = {"i": agreed.a_site().install_id}
    agreed.sql("update crm.installs set status = :w where enerflo_install_id = :i", w=word, **key)
    report = run_reconcile(agreed.context, full=True)
    found = agreed.sql(
        "select coalesce(hint, '') as hint from sync.differences where reconciliation_id = :id and field = 'status'"
        " and key = jsonb_build_object('enerflo_install_id', cast(:i as bigint))"
        " and cause <> 'equal_after_normalisation'",
        id=report.reconciliation_id,
        **key,
    )
    assert [row["hint"] for row in found] == hints
