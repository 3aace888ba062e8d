"""Another date of a last milestone that was completed before completes no install, whatever its row's key is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.test_moved_rows import AT_ONCE
from tests.writes.test_refused import status_at_enerflo

ON_HOLD, COMPLETED = 4, 1302
INSTALLS = """tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    fields:
      status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}
"""
LONG = """  milestones:
    crm_table: crm.steps
    key: [item]
    join: {install: install_id, step: milestone_id}
    updated_at: updated_at
    create_in: []
    fields:
      completed_at: {enerflo: completed_at, type: timestamp, source_of_truth: newest}
"""
WIDE = """  milestones:
    layout: wide
    crm_table: crm.steps
    key: [item]
    join: {install: install_id}
    updated_at: updated_at
    columns:
      completed_at: {milestone: TITLE, enerflo: completed_at, type: timestamp, source_of_truth: newest}
"""


@dataclass
class Final:
    """The last milestone of a completed install."""

    install: int
    step: int
    title: str


def opened_again(desk: Desk, layout: str) -> Final:
    """Return the last milestone of an install that was completed, and that a person put on hold since.

    Its row in the CRM has a key of its own.
    """
    (row,) = desk.sql(
        "select i.install_id as install, m.milestone_id as step, m.title from enerflo.installs i"
        " join lateral (select * from enerflo.milestones m where m.install_id = i.install_id"
        " order by sequence desc limit 1) m on m.completed_at is not null"
        " where status_name = 'Completed' order by 1 limit 1"
    )
    final = Final(**row)
    desk.sql(
        "create table crm.steps (item text primary key, install bigint, step bigint, completed_at timestamptz,"
        " updated_at timestamptz)"
    )
    desk.sql(
        "insert into crm.steps select 'i' || row_number() over (order by install_id, sequence), install_id,"
        " milestone_id, completed_at, now() - interval '1 day' from enerflo.milestones"
        " where cast(:t as text) is null or title = :t",
        t=None if layout == LONG else final.title,
    )
    mapped(desk, "both", INSTALLS + layout.replace("TITLE", final.title), AT_ONCE)
    desk.carried()
    desk.world.set_status(final.install, ON_HOLD)
    run_poll(desk.context)
    desk.carried()
    return final


@pytest.mark.parametrize("layout", [LONG, WIDE])
def test_a_date_that_is_corrected_in_a_row_with_a_key_of_its_own_completes_no_install(
    agreed: Desk, layout: str
) -> None:
    final = opened_again(agreed, layout)
    agreed.sql(
        "update crm.steps set completed_at = completed_at - interval '2 days', updated_at = now()"
        " where install = :i and step = :s",
        i=final.install,
        s=final.step,
    )
    agreed.carried()
    assert status_at_enerflo(agreed, final.install) == ON_HOLD
    # Opened, and completed again.
    for date in ("null", "now()"):
        agreed.sql(
            f"update crm.steps set completed_at = {date}, updated_at = now() where install = :i and step = :s",
            i=final.install,
            s=final.step,
        )
        agreed.sql(
            f"update enerflo.milestones set completed_at = {date}, observed_at = now()"
            " where install_id = :i and milestone_id = :s and cast(:d as text) = 'null'",
            i=final.install,
            s=final.step,
            d=date,
        )
        agreed.carried()
    assert status_at_enerflo(agreed, final.install) == COMPLETED


@pytest.mark.parametrize("layout", [LONG, WIDE])
def test_nor_does_one_that_an_import_corrects_while_it_numbers_the_rows_anew(
    agreed: Desk, layout: str
) -> None:
    final = opened_again(agreed, layout)
    agreed.sql(
        "create table crm.import as select 'i' || substr(item, 2)::int + 1 as item, install, step, case"
        " when install = :i and step = :s then completed_at - interval '2 days' else completed_at end, now()"
        " from crm.steps",
        i=final.install,
        s=final.step,
    )
    agreed.sql("delete from crm.steps")
    agreed.sql("insert into crm.steps select * from crm.import")
    for _ in range(2):
        agreed.carried()
    assert status_at_enerflo(agreed, final.install) == ON_HOLD
