"""The doctor names the values that plans would write to an enumeration, and that it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.doctor import Severity
from enerflo_sync.reconcile.fit.preview import table_fits
from tests.writes.conftest import Desk

STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}"


def warned(desk: Desk) -> list[str]:
    with desk.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("set transaction read only")
        fits = table_fits(connection, desk.context.config, "default", Path("sync.yaml"))
        found = [one for fit in fits for one in fit.findings if one.severity is Severity.WARNING]
    assert {one.what for one in found} <= {"tables.installs.fields.status"}
    return [one.found for one in found]


@pytest.fixture
def listed(agreed: Desk) -> Desk:
    """The CRM's statuses are the labels of an enumeration that has each of them."""
    names = [row["status"] for row in agreed.sql("select distinct status from crm.installs")]
    agreed.sql(f"create type crm.word as enum ({', '.join(repr(name) for name in names)})")
    agreed.sql("alter table crm.installs alter status type crm.word using status::crm.word")
    return agreed


@pytest.mark.parametrize("domain", [False, True])
def test_labels_that_lack_are_named(listed: Desk, domain: bool) -> None:
    if domain:
        listed.sql("create domain crm.shown as crm.word")
        listed.sql("alter table crm.installs alter status type crm.shown using status::crm.shown")
    assert warned(listed) == []
    listed.sql(
        "update enerflo.installs set status_name = 'New one' where install_id = :i",
        i=listed.a_site().install_id,
    )
    assert warned(listed) == ["no label New one in crm.word, the type of status"]
    # A label of the mapping may lack, too; what has one is written by it.
    known = listed.one("select min(status::text) from crm.installs")
    for label, lacking in (("Another", ["no label Another in crm.word, the type of status"]), (known, [])):
        labelled = STATUS.replace("source_of", f"values: {{New one: {label}}}, source_of")
        listed.switched_on("both", (STATUS, labelled))
        assert warned(listed) == lacking


@pytest.mark.parametrize(
    ("mode", "field"),
    [
        ("enerflo", STATUS),
        ("both", STATUS.replace("newest", "crm")),
        ("both", STATUS.replace("source_of", "personal_data: name, source_of")),
        ("both", STATUS.replace("newest", "newest, direction: to_enerflo")),
    ],
)
def test_nothing_is_said_of_what_no_plan_writes_nor_of_personal_data(
    listed: Desk, mode: str, field: str
) -> None:
    listed.sql(
        "update enerflo.installs set status_name = 'New one' where install_id = :i",
        i=listed.a_site().install_id,
    )
    listed.switched_on(mode, (STATUS, field))
    assert warned(listed) == []
