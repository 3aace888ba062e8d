"""Columns of the CRM that only a plan needs: one that is not there is named, a text that it is part of left out."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError
from tests.writes.conftest import Desk


def test_a_text_for_notes_may_name_a_column_that_the_crm_lacks(desk: Desk) -> None:
    desk.switched_on("both", ('author: "Enerflo user {author_id}", ', ""))
    desk.sql("alter table crm.notes drop column author")
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, body, updated_at)"
        " select 'n-1', min(enerflo_install_id), 'Call.', now() from crm.installs"
    )
    desk.carried()
    assert desk.one("select count(*) from enerflo.notes where body = 'Call.'") == 1
    desk.settled()


def test_a_column_that_a_plan_needs_and_the_crm_lacks_is_named(desk: Desk) -> None:
    desk.switched_on("both", ("create_when: {status:", "create_when: {stage:"))
    with pytest.raises(ConfigurationError, match=r"tables.leads.create_when.stage: found no column stage"):
        desk.plan()
