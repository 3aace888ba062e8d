"""``enerflo-sync undo`` and ``what-if`` as a person runs them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.world import World
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.plan import run_plan
from tests.cli.conftest import SHIPPED, Run


@pytest.fixture
def written(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The CRM is written, and both sides agree."""
    path = tmp_path / "sync.yaml"
    path.write_text(SHIPPED.read_text().replace("mode: report", "mode: crm"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(path))
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "0")
    run("poll")
    return run


@pytest.fixture
def plan_hash(written: Run, world: World) -> str:
    """An applied plan that set one status in the CRM."""
    context = open_account("default", os.environ)
    run_apply(context, run_plan(context)[0].plan_hash, approved_by="Me")
    install = next(row for row in world.truth.installs() if row.status_name not in {"On Hold", "Voided"})
    world.set_status(install.install_id, 4)
    written("poll")
    plan = run_plan(context)[0]
    run_apply(context, plan.plan_hash, approved_by="Me")
    with context.engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from sync.ledger where decision = 'applied'"))
    context.close()
    return plan.plan_hash


def test_an_undo_is_made_and_applied_as_any_plan(written: Run, plan_hash: str) -> None:
    made = written("undo", plan_hash[:12])
    assert made.code == 0
    assert f"This takes plan {plan_hash[:12]} back." in made.out
    assert "1 change in the CRM." in made.out
    assert "Apply it with: enerflo-sync apply " in made.out
    told = written("undo", plan_hash, "--json").json
    assert (told["kind"], told["stands_on"], told["counts"]["changes"]) == ("undo", plan_hash, 1)
    assert written("apply", told["plan_hash"]).code == 0
    again = written("undo", plan_hash)
    assert again.code == 1
    assert f"Nothing of plan {plan_hash[:12]} is taken back." in again.out
    assert "it moved since" in again.out
    assert "Nothing to take back: 1 question is left to a person." in again.out


def test_a_plan_shows_whole_rows_and_lists_in_words(written: Run) -> None:
    context = open_account("default", os.environ)
    with context.engine.begin() as connection:
        connection.execute(sa.text("delete from crm.change_orders where adders is not null"))
    plan = run_plan(context)[0]
    context.close()
    assert '[{"cost": ' in written("plan").out
    assert written("apply", plan.plan_hash, "--approve", "Me").code == 0
    rows = [line for line in written("undo", plan.plan_hash).out.splitlines() if " whole row " in line]
    assert any("adders [" in line for line in rows)
    assert [line for line in rows if "{'" in line] == []


def test_an_undo_of_an_unknown_plan_exits_with_2(written: Run) -> None:
    ended = written("undo", "0123456789")
    assert (ended.code, ended.out) == (2, "")
    assert "there is no such plan" in ended.err


def test_a_what_if_tells_both_parts_and_exits_with_0(written: Run, plan_hash: str, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(SHIPPED.read_text().replace("source_of_truth: newest", "source_of_truth: crm"))
    result = written("what-if", str(new), "--days", "3")
    assert (result.code, result.err) == (0, "")
    assert "Nothing was written." in result.out
    assert "x installs.status: written to the CRM at the time" in result.out
    told = written("what-if", str(new), "--json").json
    assert told["decisions"][0]["would_be"] == "to_enerflo"


def test_a_what_if_of_a_wrong_file_exits_with_2(written: Run, tmp_path: Path) -> None:
    ended = written("what-if", str(tmp_path / "none.yaml"))
    assert (ended.code, ended.out) == (2, "")
    assert (
        "none.yaml: the configuration cannot be read: No such file or directory. Check the path (of sync.yaml"
        in ended.err
    )


def test_an_undo_whose_place_a_later_plan_took_names_the_command_that_makes_it_again(
    written: Run, plan_hash: str
) -> None:
    made = written("undo", plan_hash, "--json").json["plan_hash"]
    written("plan")
    ended = written("apply", made, "--approve", "Sam")
    assert ended.code == 2
    assert f"Make a new one with enerflo-sync undo {plan_hash[:12]}." in ended.err


def test_a_what_if_names_a_record_as_explain_takes_it(written: Run, world: World, tmp_path: Path) -> None:
    context = open_account("default", os.environ)
    run_apply(context, run_plan(context)[0].plan_hash, approved_by="Me")
    with context.engine.begin() as connection:
        first = "select enerflo_install_id, milestone_id from crm.milestones where completed_at is not null limit 1"
        install, milestone = connection.execute(sa.text(first)).one()
        connection.execute(
            sa.text(
                "update crm.milestones set completed_at = completed_at + interval '3 days', updated_at = now()"
                " - interval '1 day' where enerflo_install_id = :install and milestone_id = :milestone"
            ),
            {"install": install, "milestone": milestone},
        )
    context.close()
    new = tmp_path / "new.yaml"
    text = SHIPPED.read_text().replace("source_of_truth: newest", "source_of_truth: crm")
    new.write_text(text.replace("in_flight_minutes: 30", "in_flight_minutes: 0"))
    told = written("what-if", str(new)).out
    assert f"      {install}/{milestone}  " in told, told
    assert written("explain", "milestone", f"{install}/{milestone}").code == 0
