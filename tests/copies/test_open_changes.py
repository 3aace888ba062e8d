"""What an apply could not write to a CRM elsewhere is written later, also where no plan has anything to do."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.remote_writes import RemoteWriter, Written
from enerflo_sync.errors import RetriableError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.carry import run_carry
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.parts import Part
from tests.copies.conftest import CRM, Elsewhere
from tests.writes.conftest import Desk
from tests.writes.test_changes import ALONE, AT_ONCE, counted

pytestmark = pytest.mark.parametrize("elsewhere", ["mariadb"], indirect=True)


@pytest.fixture
def waiting(away: Desk, monkeypatch: pytest.MonkeyPatch) -> int:
    """An install whose approved panel count waits, since the CRM went away in the midst of the apply."""
    away.switched_on("both", CRM, ALONE, AT_ONCE)
    away.carried()
    install = away.a_site().install_id
    counted(away, install, 40)
    plan = away.plan()

    def cut_off(_: RemoteWriter, __: Sequence[RowWrite]) -> Written:
        raise RetriableError("the CRM is away.")

    with monkeypatch.context() as patched:
        patched.setattr(RemoteWriter, "write", cut_off)
        with pytest.raises(RetriableError):
            run_apply(away.context, plan.plan_hash, approved_by="Pat")
    return install


def test_what_waits_is_written_where_no_plan_has_anything_to_do(
    away: Desk, elsewhere: Elsewhere, waiting: int
) -> None:
    assert away.plan().change_count == 0
    report = run_carry(away.context)
    assert elsewhere.one("installs", enerflo_install_id=waiting)["panel_count"] == 40
    assert report is not None
    assert (report.taken, report.unmade, report.open) == (1, 0, 0)
    away.settled()


def test_after_a_lost_answer_nobody_takes_our_own_time_for_a_persons(
    away: Desk, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database itself moves updated_at with each write, and nobody read the row back after ours."""
    away.switched_on("both", CRM, ALONE, AT_ONCE)
    elsewhere.sql(
        "alter table crm.installs modify updated_at timestamp(6) null on update current_timestamp(6)"
    )
    away.carried()
    install = away.a_site().install_id
    counted(away, install, 50)
    elsewhere.sql(
        "update crm.installs set status = 'On Hold', updated_at = now(6) - interval 1 hour"
        " where enerflo_install_id = :id",
        id=install,
    )
    plan = away.plan()
    # Enerflo's times are whole seconds, and the mirror knows of an edit in this one.
    time.sleep(1.1)
    away.world.set_status(install, 323)
    time.sleep(1.5)
    whole = RemoteWriter.write

    def answer_lost(self: RemoteWriter, writes: Sequence[RowWrite]) -> Written:
        whole(self, writes)
        raise RetriableError("the answer was lost.")

    part = Part(only=["installs.panel_count"])
    with monkeypatch.context() as patched:
        patched.setattr(RemoteWriter, "write", answer_lost)
        with pytest.raises(RetriableError):
            run_apply(away.context, plan.plan_hash, approved_by="Pat", part=part)
    assert run_apply(away.context, plan.plan_hash).applied == 1
    run_poll(away.context)
    plan = away.plan()
    assert not away.changes(plan, table_name="installs", field="status")
    assert [one.field for one in away.undecided(plan)] == ["status"]
