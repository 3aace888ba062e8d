"""Since when a difference has been found: kept over full and incremental runs, and begun anew after an end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from enerflo_sync.reconcile.render.stored_verdict import StoredVerdict, stored_verdict
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.reconcile.conftest import CRM_INSTALL, LONG_AGO, NOW, TwoSides

DAY = timedelta(days=1)


def since(sides: TwoSides, report: ReconciliationReport) -> dict[tuple[str, Any], datetime | None]:
    """Return since when each difference has been found, by the key's first value and the field."""
    query = sa.text("select key, field, since from sync.differences where reconciliation_id = :id")
    with sides.engine.connect() as connection:
        rows = connection.execute(query, {"id": report.reconciliation_id})
        return {(str(next(iter(key.values()))), field): found for key, field, found in rows}


@pytest.fixture
def differing(sides: TwoSides) -> TwoSides:
    """An install that differs in its status, one whose key two CRM notes share, and one that the CRM lacks."""
    sides.polled()
    sides.install(1, crm_status="Sold")
    sides.install(2)
    sides.mirror("installs", install_id=3, customer_name="Jo", status_name="In progress")
    sides.mirror("notes", note_id=9, install_id=2, body="Hello")
    for name in ("n-1", "n-2"):
        sides.crm("notes", note_id=name, enerflo_note_id=9, enerflo_install_id=2, body="Hello")
    return sides


@pytest.mark.parametrize("full", [True, False])
def test_what_is_found_again_was_found_since_the_first_time(differing: TwoSides, full: bool) -> None:
    first = since(differing, differing.reconcile(NOW))
    assert set(first) == {("1", "status"), ("3", None), ("9", None)}
    assert set(first.values()) == {NOW}
    differing.sql(
        "update crm.installs set panel_count = 1, updated_at = :at where enerflo_install_id = 1", at=NOW + DAY
    )
    again = since(differing, differing.reconcile(NOW + 2 * DAY, full=full))
    assert again == first | {("1", "panel_count"): NOW + 2 * DAY}


@pytest.mark.parametrize("full", [True, False])
def test_what_ended_and_came_back_begins_anew(differing: TwoSides, full: bool) -> None:
    differing.reconcile(NOW)
    for at, status in ((NOW + DAY, CRM_INSTALL["status"]), (NOW + 3 * DAY, "Sold")):
        differing.sql(
            "update crm.installs set status = :s, updated_at = :at where enerflo_install_id = 1",
            s=status,
            at=at,
        )
        report = differing.reconcile(at + DAY / 2, full=full)
    assert since(differing, report)["1", "status"] == NOW + 3.5 * DAY
    assert since(differing, report)["3", None] == NOW


def test_another_value_of_a_field_that_still_differs_is_the_same_difference(differing: TwoSides) -> None:
    differing.reconcile(NOW)
    differing.sql(
        "update crm.installs set status = 'Lost', updated_at = :at where enerflo_install_id = 1", at=NOW + DAY
    )
    assert since(differing, differing.reconcile(NOW + 2 * DAY))["1", "status"] == NOW


@pytest.mark.parametrize("full", [True, False])
def test_of_what_an_older_version_stored_the_run_that_stored_it_is_the_first(
    differing: TwoSides, full: bool
) -> None:
    first = differing.reconcile(NOW)
    differing.sql("update sync.differences set since = null, hint = null")
    differing.sql("update sync.reconciliations set summary = null")
    assert set(since(differing, differing.reconcile(NOW + DAY, full=full)).values()) == {first.started_at}


def test_a_run_that_is_tried_again_under_its_id_does_not_stand_on_itself(differing: TwoSides) -> None:
    differing.reconcile(NOW, reconciliation_id="one")
    differing.reconcile(NOW + DAY, reconciliation_id="two")
    again = differing.reconcile(NOW + 2 * DAY, reconciliation_id="two")
    assert set(since(differing, again).values()) == {NOW}


def test_the_verdict_is_stored_beside_the_report_as_the_report_says_it(differing: TwoSides) -> None:
    report = differing.reconcile(NOW)
    with differing.engine.connect() as connection:
        stored = connection.scalar(sa.text("select summary from sync.reconciliations"))
    read = msgspec.convert(stored, StoredVerdict, strict=False)
    assert read == stored_verdict(report)
    assert (read.differences, read.unexplained, read.rows) == (report.differences, report.unexplained, 3)
    assert read.mirror_as_of == LONG_AGO
    assert not read.all_clear


@pytest.mark.parametrize("full", [True, False])
def test_a_stored_difference_says_when_it_was_first_seen_and_its_hint_beside_its_detail(
    differing: TwoSides, full: bool
) -> None:
    hour = timedelta(minutes=60)
    differing.install(4, crm_customer_name="JO ")
    differing.mirror("milestones", install_id=4, milestone_id=1, due_at=LONG_AGO)
    differing.crm("milestones", enerflo_install_id=4, milestone_id=1, due_at=LONG_AGO + hour)
    query = """select key, field, first_seen_at, hint, hint_detail from sync.differences
        where reconciliation_id = :id order by table_name, key, field"""
    differing.reconcile(NOW)
    report = differing.reconcile(NOW + DAY, full=full)
    with differing.engine.connect() as connection:
        rows = connection.execute(sa.text(query), {"id": report.reconciliation_id}).all()
    assert {row.first_seen_at for row in rows} == {NOW}
    assert {row.field: (row.hint, row.hint_detail) for row in rows if row.hint is not None} == {
        "due_at": ("constant_offset", {"minutes": 60})
    }
    assert len(rows) == 5
    # Rows of an older program have the detail in the hint, until the next run.
    differing.sql(
        "update sync.differences set hint = 'constant_offset:60', hint_detail = null where hint is not null"
    )
    report = differing.reconcile(NOW + 2 * DAY, full=full)
    with differing.engine.connect() as connection:
        rows = connection.execute(sa.text(query), {"id": report.reconciliation_id}).all()
    assert [(row.hint, row.hint_detail) for row in rows if row.hint] == [("constant_offset", {"minutes": 60})]
