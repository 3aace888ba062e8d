"""The doctor says how far the clock of the CRM's own database is from the warehouse's."""

from __future__ import annotations

import pytest

from enerflo_sync.cli.clock_check import clock_check
from tests.copies.conftest import Elsewhere
from tests.writes.conftest import Desk

_LATE = {"postgresql": " - interval '7 minutes'", "mariadb": " - interval 7 minute"}


@pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql"], indirect=True)
def test_a_clock_of_the_crms_database_that_is_minutes_behind_is_a_warning(
    away: Desk, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    assert away.context.crm is not None
    (check,) = clock_check(away.context)
    assert check.findings == []
    assert "the CRM's database's is 0 s" in check.detail
    dialect = away.context.crm.dialect
    late = _LATE[request.node.callspec.params["elsewhere"]]
    monkeypatch.setattr(type(dialect), "present", dialect.present + late)
    (check,) = clock_check(away.context)
    (one,) = check.findings
    assert one.severity == "warning"
    assert "a clock of the CRM's database that is 420 s behind the warehouse's" in one.found


@pytest.mark.parametrize("elsewhere", ["duckdb"], indirect=True)
def test_a_file_has_no_clock(away: Desk) -> None:
    assert [check.findings for check in clock_check(away.context)] in ([], [[]])
