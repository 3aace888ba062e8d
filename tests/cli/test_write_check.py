"""``doctor --write-check``: the write bodies on one install, as a person meets it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.truth import InstallRow
from enerflo_sandbox.world import World
from tests.cli.conftest import SHIPPED, Result, Run


def install_with_dates(world: World) -> InstallRow:
    dated = {row.install_id for row in world.truth.milestones() if row.completed_at}
    return next(row for row in world.truth.installs() if row.install_id in dated)


def checks_of(result: Result) -> dict[str, Any]:
    return {check["name"]: check for check in result.json["checks"] if check["name"].startswith("writes.")}


def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **writes: Any) -> None:
    shipped = yaml.safe_load(SHIPPED.read_text())
    shipped["writes"] |= writes
    path = tmp_path / "sync.yaml"
    path.write_text(yaml.safe_dump(shipped))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(path))


def test_all_is_as_before_but_for_one_note_and_each_option_is_named(run: Run, world: World) -> None:
    install = install_with_dates(world)
    milestones, notes = list(world.truth.milestones()), world.truth.counts()["notes"]
    found = checks_of(run("doctor", "--json", "--write-check", str(install.install_id)))
    assert [check["ok"] for check in found.values()] == [True] * 3
    assert "writes.status.status: status_id is not refused" in found["writes.status"]["detail"]
    assert "writes.milestone.completed_at: completed_at is not refused" in found["writes.milestone"]["detail"]
    assert "writes.note.body: note is proven" in found["writes.note"]["detail"]
    assert world.truth.install(install.install_id) == install._replace(
        updated_at=world.truth.install(install.install_id).updated_at
    )  # type: ignore[union-attr]
    assert list(world.truth.milestones()) == milestones
    assert world.truth.counts()["notes"] == notes + 1
    assert [note.body for note in world.truth.notes()][-1].startswith("enerflo-sync write check, 20")


def test_without_it_nothing_is_written(run: Run, world: World) -> None:
    assert checks_of(run("doctor", "--json")) == {}
    assert world.received == []


def test_wrong_field_names_are_told_by_their_option(
    run: Run, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = {
        "status": {"status": "status"},
        "milestone": {"completed_at": "done"},
        "note": {"body": "content"},
    }
    configured(monkeypatch, tmp_path, **wrong)
    result = run("doctor", "--json", "--write-check", str(install_with_dates(world).install_id))
    assert result.code == 2
    found = checks_of(result)
    assert [check["ok"] for check in found.values()] == [False] * 3
    for name, option in (
        ("status", "status.status: status"),
        ("milestone", "milestone.completed_at: done"),
        ("note", "note.body: content"),
    ):
        assert f"writes.{option}" in found[f"writes.{name}"]["detail"]
        assert "wrong, or not allowed" in found[f"writes.{name}"]["detail"]


def test_an_install_that_is_not_there_fails_each_check(run: Run, world: World) -> None:
    result = run("doctor", "--json", "--write-check", "1")
    assert result.code == 2
    assert [check["ok"] for check in checks_of(result).values()] == [False] * 3


def test_an_install_without_dates_is_said_to_be_skipped(run: Run, world: World) -> None:
    install_id = world.create_install()
    world.set_milestone(install_id, 3902, {"started": None})
    found = checks_of(run("doctor", "--json", "--write-check", str(install_id)))
    assert found["writes.milestone"]["detail"].startswith("skipped: no milestone")


def test_the_help_says_that_it_writes_a_note(run: Run) -> None:
    text = " ".join(run("doctor", "--help").out.split())
    assert "WRITES" in text
    assert "note" in text


def test_a_lost_answer_is_not_called_an_acceptance(run: Run, world: World, served: SandboxServer) -> None:
    """The request never arrived, and the status is the same then, too."""
    install = install_with_dates(world).install_id
    path = f"/api/v3/installs/{install}"
    served.api.faults = Faults(script=[ScriptedFault(FaultKind.DROPPED, path=path, method="PUT")])
    found = checks_of(run("doctor", "--json", "--write-check", str(install)))
    assert [name for name, check in found.items() if not check["ok"]] == ["writes.status"]
    assert "nobody can tell whether Enerflo takes it" in found["writes.status"]["detail"]


def test_a_write_that_removes_the_other_dates_is_not_called_harmless(
    run: Run, world: World, served: SandboxServer
) -> None:
    """A PUT that replaces the whole milestone: no date of it may be sent alone."""
    install = install_with_dates(world).install_id
    real = served.api._write

    def replacing(request: Request, path: str) -> Response:
        if "/milestones/" in path:
            body = {"started_at": None, "due_at": None, "completed_at": None, **json.loads(request.body)}
            request = dataclasses.replace(request, body=json.dumps(body).encode())
        return real(request, path)

    served.api._write = replacing  # type: ignore[method-assign]
    found = checks_of(run("doctor", "--json", "--write-check", str(install)))
    assert [name for name, check in found.items() if not check["ok"]] == ["writes.milestone"]
    assert "once more changed due_at, started_at, too." in found["writes.milestone"]["detail"]
