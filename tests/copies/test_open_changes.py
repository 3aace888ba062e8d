"""What an apply could not write to a CRM elsewhere is written later, also where no plan has anything to do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.remote_writes import RemoteWriter, Written
from enerflo_sync.errors import RetriableError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.carry import run_carry
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
