"""``enerflo-sync ledger verify``: what it prints, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.world import World
from tests.cli.conftest import SHIPPED, Run


def test_an_intact_and_a_broken_ledger(
    run: Run,
    world: World,
    warehouse: sa.Engine,
    warehouse_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert run("ledger", "verify").out == "Account default: no row of the ledger is sealed yet.\n"
    make_crm_tables(world, warehouse_url)
    config = tmp_path / "sync.yaml"
    config.write_text(SHIPPED.read_text().replace("mode: report", "mode: both"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    run("poll")
    plan = run("plan", "--json").json["plan_hash"]
    assert run("apply", plan, "--approve", "Pat").code in (0, 1)

    whole = run("ledger", "verify", "--json")
    assert (whole.code, whole.json["intact"], whole.json["unsealed"]) == (0, True, 0)
    head = whole.json["head"]
    shown = run("ledger", "verify", "--expect", head)
    assert shown.code == 0
    assert "all as they were sealed" in shown.out
    assert f"Head: {head}" in shown.out

    with warehouse.begin() as connection:
        changed = connection.exec_driver_sql(
            "update sync.ledger set decided_by = 'Somebody' where ledger_id ="
            " (select min(ledger_id) from sync.ledger) returning ledger_id"
        ).scalar_one()
    broken = run("ledger", "verify")
    assert broken.code == 1
    assert f"row {changed} (" in broken.out
    assert "was changed after seal 1" in broken.out
    assert "Next: docs/runbook.md#the-ledger-is-not-as-it-was-sealed" in broken.out
    document = run("ledger", "verify", "--json").json
    assert [place["ledger_id"] for place in document["places"]] == [changed]
    assert document["intact"] is False

    assert run("ledger", "verify", "--expect", "zz").code == 2
    other = run("ledger", "verify", "--expect", "0" * 64)
    assert other.code == 1
    assert "  no seal has the digest 0000" in other.out
    assert (
        "Next: compare the digest, and its account, with the log line that it is from (ledger_sealed)."
        in other.out
    )
    with warehouse.begin() as connection:
        connection.exec_driver_sql(
            "insert into sync.ledger_seals select s.* from sync.ledger_seals t, jsonb_populate_record("
            "t, jsonb_build_object('account', 'west', 'digest', '\\x' || repeat('ab', 32))) s"
            " where t.number = (select max(number) from sync.ledger_seals)"
        )
    west = run("ledger", "verify", "--expect", "abababab")
    assert west.code == 1
    assert "  no seal has the digest abababab: it is one of account west" in west.out
    assert (
        "Next: check the account that it is of: enerflo-sync ledger verify --account west --expect"
        in west.out
    )

    # Whoever takes all seals away leaves nothing to tell by.
    with warehouse.begin() as connection:
        connection.exec_driver_sql("delete from sync.ledger_seals")
    bare = run("ledger", "verify")
    assert bare.code == 1
    assert "the ledger has rows and no seal: nothing could be checked." in bare.out
    assert "without a seal: not covered." in bare.out
    assert "Next: docs/runbook.md#the-ledger-is-not-as-it-was-sealed" in bare.out
    assert run("ledger", "verify", "--json").json["intact"] is False
