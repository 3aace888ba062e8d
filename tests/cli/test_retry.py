"""``enerflo-sync retry`` as a person runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.plan import run_plan
from tests.cli.conftest import SHIPPED, Run


@pytest.fixture
def parked(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The CRM refused one change."""
    path = tmp_path / "sync.yaml"
    path.write_text(SHIPPED.read_text().replace("mode: report", "mode: crm"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(path))
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "0")
    run("poll")
    context = open_account("default", os.environ)
    run_apply(context, run_plan(context)[0].plan_hash, approved_by="Me")
    with context.engine.begin() as connection:
        connection.execute(sa.text("alter table crm.installs add check (panel_count > 90) not valid"))
        connection.execute(
            sa.text(
                "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id ="
                " (select min(enerflo_install_id) from crm.installs)"
            )
        )
    assert run_apply(context, run_plan(context)[0].plan_hash, approved_by="Me").parked == 1
    context.close()
    return run


def test_it_lists_then_tries_again_what_is_chosen(parked: Run) -> None:
    listed = parked("retry")
    assert listed.code == 1
    assert "1 change is parked and held back for a day:" in listed.out
    assert "the CRM's table refuses it" in listed.out
    chosen = parked("retry", "--all", "--by", "Ann", "--json")
    assert chosen.code == 0
    (change,) = chosen.json["changes"]
    assert (chosen.json["retried"], change["field"], change["before"]) == (True, "panel_count", 99)
    assert parked("retry").code == 0
    assert parked("plan", "--json").json["counts"]["changes"] == 1


def test_a_choice_that_fits_nothing_exits_with_2(parked: Run) -> None:
    ended = parked("retry", "--reason", "no such words")
    assert (ended.code, ended.out) == (2, "")
    assert "no parked change fits" in ended.err
