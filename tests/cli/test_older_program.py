"""The command line of a program whose warehouse was migrated by a newer one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlalchemy as sa

from enerflo_sync.warehouse import revision as revisions
from enerflo_sync.warehouse.revision import may_use
from tests.cli.conftest import Run
from tests.warehouse.test_older_programs import moved


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "_told", set())


def test_the_commands_of_an_older_program(run: Run, warehouse: sa.Engine) -> None:
    moved(warehouse, "9002", may_use("0001", "0001"))
    polled = run("poll")
    assert polled.code in (0, 1), polled.err
    # In this process pytest has the log.
    alone = [sys.executable, "-c", "from enerflo_sync.cli import main; main()", "gaps"]
    shown = subprocess.run(alone, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode in (0, 1)
    assert "older_program the warehouse is at schema revision 9002" in shown.stderr
    migrated = run("migrate", "--json")
    assert (migrated.code, migrated.json["before"], migrated.json["after"]) == (0, "9002", "9002")
    assert "nothing to migrate" in run("migrate").out
    checked = {check["name"]: check["detail"] for check in run("doctor", "--json").json["checks"]}
    assert "may still read and write" in checked["tables"]

    moved(warehouse, "9002", may_use("0001", "9002"))
    assert run("gaps").code in (0, 1)
    for words in (("poll",), ("migrate",)):
        refused = run(*words)
        assert refused.code == 2
        assert "may only read its tables" in refused.err
        assert refused.err.count("\n") == 1
