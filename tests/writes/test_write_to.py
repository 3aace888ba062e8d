"""Where approved changes go (``write_to``): a table of the team's own, and copies of which nothing is declared."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk
from tests.writes.test_changes import (
    ALONE,
    AT_ONCE,
    INSTALLS,
    approved,
    causes,
    copied,
    copy_shows,
    counted,
    handed,
    install,
)

__all__ = ["copied", "install"]


def test_a_copy_of_which_nothing_is_declared_is_not_written(agreed: Desk) -> None:
    agreed.sql("alter table crm.installs add _fivetran_synced timestamptz, add _fivetran_deleted boolean")
    agreed.switched_on("both", ALONE, AT_ONCE)
    assert agreed.plan().change_count == 0
    install = agreed.a_site().install_id
    counted(agreed, install, 40)
    with pytest.raises(ConfigurationError) as caught:
        agreed.plan()
    assert "_fivetran_synced, _fivetran_deleted" in str(caught.value)
    assert "write_to: changes" in str(caught.value)
    assert "tables.installs" in str(caught.value)
    agreed.switched_on("report", ALONE, AT_ONCE)
    assert agreed.plan().change_count == 1
    agreed.switched_on("both", ALONE, AT_ONCE, (INSTALLS, f"{INSTALLS}    write_to: table\n"))
    _, report = approved(agreed)
    assert report.applied == 1
    assert agreed.crm("installs", enerflo_install_id=install)["panel_count"] == 40


OUTLET = """create table crm.outbox (
  change_id text primary key, key text not null, op text not null, "column" text, before text, after text,
  state text, acknowledged_at timestamptz)"""


def to_outlet(desk: Desk) -> None:
    own = f"{INSTALLS}    write_to: {{changes: crm.outbox, late_hours: 2}}\n"
    desk.switched_on("both", (INSTALLS, own), ALONE, AT_ONCE)


def test_a_table_of_the_teams_own_gets_the_changes_and_gives_the_acknowledgement(
    copied: Desk, install: int
) -> None:
    copied.sql(OUTLET)
    to_outlet(copied)
    approved(copied)
    (row,) = copied.sql("select * from crm.outbox")
    (ours,) = handed(copied)
    assert (row["change_id"], row["after"], row["state"]) == (ours["change_id"], "40", "open")
    copied.sql("update crm.outbox set acknowledged_at = now()")
    counted(copied, install, 44)
    approved(copied)
    rows = copied.sql("select state, after from crm.outbox order by after")
    assert [(one["after"], one["state"]) for one in rows] == [("40", "superseded"), ("44", "open")]
    assert handed(copied, every=True)[0]["acknowledged_at"] is not None
    copied.sql("update sync.crm_changes set made_at = now() - interval '3 hours' where state = 'open'")
    assert causes(copied) == {"unexplained": 1}
    copy_shows(copied, install, panel_count=44)
    copied.plan()
    assert copied.one("select state from crm.outbox where after = '44'") == "arrived"


@pytest.mark.parametrize("wrong", ["missing", "lacks", "refuses"])
def test_a_table_of_the_teams_own_that_takes_no_change_says_so(
    copied: Desk, install: int, wrong: str
) -> None:
    if wrong == "lacks":
        copied.sql("create table crm.outbox (change_id text)")
    elif wrong == "refuses":
        copied.sql(OUTLET)
        copied.sql("alter table crm.outbox add team text not null")
    to_outlet(copied)
    plan = copied.plan()
    with pytest.raises(ConfigurationError) as caught:
        run_apply(copied.context, plan.plan_hash, approved_by="Pat")
    words = {"missing": "does not exist", "lacks": "no column op, key", "refuses": "NotNullViolation"}
    assert words[wrong] in str(caught.value)
    assert "crm.outbox" in str(caught.value)
    assert handed(copied, every=True) == []
    assert [change.state for change in copied.changes(plan)] == ["planned"]


def test_a_table_that_became_a_copy_since_the_plan_is_not_written(agreed: Desk) -> None:
    agreed.switched_on("both", ALONE, AT_ONCE)
    agreed.carried()
    counted(agreed, agreed.a_site().install_id, 40)
    plan = agreed.plan()
    agreed.sql("alter table crm.installs add _airbyte_extracted_at timestamptz")
    with pytest.raises(ConfigurationError, match="_airbyte_extracted_at"):
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
