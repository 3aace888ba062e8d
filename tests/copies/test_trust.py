"""A database that nobody tried is read, and written only where a person says so; an empty text may be null."""

from __future__ import annotations

import json

import pytest

from enerflo_sandbox.api import DEFAULT_KEY
from enerflo_sync.cli import main
from enerflo_sync.copies.dialects.duckdb import DuckDB
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.copy import run_copy
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.copies.conftest import CRM, Elsewhere
from tests.copies.test_elsewhere import approved, differing, install
from tests.writes.conftest import Desk
from tests.writes.test_changes import ALONE, AT_ONCE

__all__ = ["install"]
pytestmark = pytest.mark.parametrize("elsewhere", ["duckdb"], indirect=True)
TRUSTED = (CRM[0], CRM[1].replace('"}', '", trust_dialect: true}'))
EMPTY_IS_NULL = (CRM[0], CRM[1].replace('"}', '", empty_is_null: true}'))


def test_a_database_that_nobody_tried_is_compared_and_not_written(
    away: Desk, elsewhere: Elsewhere, install: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DuckDB, "tried", False)
    before = elsewhere.one("installs", enerflo_install_id=install)["panel_count"]
    assert "installs" in differing(run_reconcile(away.context))
    with pytest.raises(ConfigurationError, match="not tried against a real DuckDB") as caught:
        away.plan()
    assert "trust_dialect: true" in str(caught.value)
    line = away.context.config.line("accounts", "default", "crm")
    assert f"sync.yaml:{line}: accounts.default.crm" in str(caught.value)
    for mode in ("report", "enerflo"):
        away.switched_on(mode, CRM, ALONE, AT_ONCE)
        away.plan()
    away.switched_on("both", TRUSTED, ALONE, AT_ONCE)
    plan = away.plan()
    away.switched_on("both", CRM, ALONE, AT_ONCE)
    with pytest.raises(ConfigurationError, match="not tried against a real DuckDB"):
        run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == before
    away.switched_on("both", TRUSTED, ALONE, AT_ONCE)
    assert approved(away).applied == 1
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 40


@pytest.mark.parametrize("trusted", [False, True])
def test_the_doctor_says_that_nobody_tried_a_database(
    away: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trusted: bool
) -> None:
    monkeypatch.setattr(DuckDB, "tried", False)
    away.switched_on("report", TRUSTED if trusted else CRM)
    (found,) = crm_findings(away, monkeypatch, capsys)
    assert "not tried against a real DuckDB by us" in found["found"]
    assert found["severity"] == ("hint" if trusted else "warning")
    assert trusted or found["next_step"].startswith("Start in mode report.")


def test_the_doctor_says_what_new_rows_lack_there(
    away: Desk, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.sql("alter table crm.installs add branch varchar default 'West'")
    elsewhere.sql("alter table crm.installs alter branch set not null")
    elsewhere.sql("alter table crm.installs alter branch drop default")
    away.switched_on("both", CRM)
    (found,) = crm_findings(away, monkeypatch, capsys)
    assert "tables.installs.create_in" in found.values()
    assert found["found"].startswith("column branch, NOT NULL without a default")


def crm_findings(
    away: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, str]]:
    """Return what the doctor says of the CRM's database."""
    environ = {**away.environ, "ENERFLO_SYNC_CONFIG": str(away.context.config_path)}
    for name, value in {
        "ENERFLO_API_KEY": DEFAULT_KEY,
        "ENERFLO_BASE_URL": "http://localhost:9",
        **environ,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WAREHOUSE_URL", away.context.credentials.warehouse_url())
    monkeypatch.setattr("sys.argv", ["enerflo-sync", "doctor", "--json"])
    with pytest.raises(SystemExit):
        main()
    checks = json.loads(capsys.readouterr().out)["checks"]
    found: list[dict[str, str]] = next(
        check["findings"] for check in checks if check["name"] == "CRM database"
    )
    return found


def test_an_empty_text_that_the_database_keeps_as_null_is_no_difference(
    away: Desk, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = away.a_site().install_id
    away.sql("update enerflo.installs set deal_id = '' where install_id = :id", id=one)
    elsewhere.sql("update crm.installs set deal_id = null where enerflo_install_id = :id", id=one)
    assert "equal_after_normalisation" not in differing(run_reconcile(away.context))["installs"]
    monkeypatch.setattr(DuckDB, "empty_is_null", True)
    with pytest.raises(ConfigurationError, match="keeps an empty text as null") as caught:
        run_copy(away.context)
    assert "empty_is_null: true" in str(caught.value)
    away.switched_on("both", EMPTY_IS_NULL)
    assert differing(run_reconcile(away.context))["installs"] == {"equal_after_normalisation": 1}
    assert not away.changes(away.plan(), table_name="installs")
