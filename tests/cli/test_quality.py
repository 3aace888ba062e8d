"""``enerflo-sync quality`` and ``quarantine release``, with their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.state import ChangeOrderState
from enerflo_sandbox.world import World
from tests.cli.conftest import Run


def sign_for(world: World, panel_count: int) -> int:
    state = world.installs.get(3)
    now = world.moment()
    order = ChangeOrderState(
        change_order_id=world.change_orders.next_id(),
        install_number=state.number,
        creator_id=c.USERS[0].user_id,
        status="complete",
        created=now,
        updated=now,
        signed=now,
        panel=None,
        panel_count=(state.panel_count, panel_count),
        battery=None,
        adders_old=(),
        adders_new=(),
        total_cost_old=30_000,
    )
    world.sign_change_order(order)
    return order.change_order_id


@pytest.fixture
def migrated(run: Run) -> Run:
    assert run("migrate").code == 0
    return run


def test_a_held_order_is_told_and_let_through(migrated: Run, world: World) -> None:
    assert (
        migrated("quality").out
        == "Change orders were not read whole yet.\n0 checked now; the others did not change.\n"
    )
    migrated("poll")
    told = migrated("quality")
    assert (told.code, told.out.splitlines()[0].startswith("None of ")) == (0, True), told.out
    assert "Life-cycle of installs: " in told.out
    assert "site_survey" in told.out
    histories = migrated("quality", "--json").json["life_cycle"]
    assert (histories["looked_at"], histories["file"]) == (0, "life_cycle.yaml")
    assert histories["installs"] > 0
    order_id = sign_for(world, 900)
    migrated("poll")
    held = migrated("quality")
    assert held.code == 1
    assert "1 of " in held.out
    assert f"change order {order_id} " in held.out
    assert "hold panel_count_range: The new panel count cannot be right." in held.out
    assert "found 900, expected at least 1 and at most 200" in held.out
    found = migrated("quality", "--json").json
    [order] = [one for one in found["failing"] if one["state"] == "held"]
    assert (order["change_order_id"], found["held"], found["checked"], found["not_validated"]) == (
        order_id,
        1,
        0,
        0,
    )
    item = order["item_id"]
    shown = migrated("quarantine", "show", item)
    assert "quarantine release" in shown.out
    assert "checked again by itself" in migrated("quarantine", "replay", item, "--go").out
    assert migrated("quarantine", "release", item[:10]).code == 2
    released = migrated("quarantine", "release", item[:10], "--reason", "a school", "--by", "Pat")
    assert (released.code, released.out) == (0, "1 let through; the next plan takes them up.\n")
    after = migrated("quality")
    assert after.code == 0
    assert "let through by Pat: a school" in after.out


def test_findings_of_the_life_cycle_are_shown_and_no_reason_to_wait(migrated: Run, world: World) -> None:
    migrated("poll")
    migrated("quality")
    state = world.installs.get(3)
    world.set_milestone(state.install_id, c.MILESTONES[1].milestone_id, {"completed": None})
    migrated("poll")
    told = migrated("quality")
    assert told.code == 0
    assert f"install {state.install_id}, permitting (Permitting)\n  warn step_reopened: " in told.out


def test_a_mistake_in_the_life_cycle_is_said(
    migrated: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "life_cycle.yaml"
    path.write_text("version: 1\nsteps:\n  a: {titles: [A], after: [b]}\n  bb: {titles: [B]}\nchecks: {}\n")
    monkeypatch.setenv("ENERFLO_LIFE_CYCLE", str(path))
    told = migrated("quality")
    assert told.code == 2
    assert "at least one entry" in told.err
    path.write_text(path.read_text().replace("{}", "{step_overdue: {sentence: x, reason: y}}"))
    told = migrated("quality")
    assert told.code == 2
    assert f"{path}:3" in told.err.replace("\n  ", "")
    assert "did you mean bb?" in told.err


def test_a_mistake_in_the_suite_is_said(migrated: Run, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "change_orders.yaml"
    path.write_text("version: 1\nchecks:\n  a:\n    sentnce: x\n")
    monkeypatch.setenv("ENERFLO_CHANGE_ORDERS", str(path))
    told = migrated("quality")
    assert told.code == 2
    assert f"{path}:4" in told.err.replace("\n  ", "")
    assert "did you mean sentence?" in told.err
