"""The support bundle: what is in it, and that nothing secret or personal is."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.world import World
from enerflo_sync.jobs.shown_config import shown_config
from tests.cli.conftest import SHIPPED, Run

CANARIES = {
    "ENERFLO_API_KEY": "canary-key-5f1e",
    "RECEIVER_SECRET": "canary-receiver-77aa",
    "SMTP_TOKEN": "canary-smtp-token",
    "AIRFLOW_CONN_CRM": "mysql://ann:canary-crm-pw@canary-host/db",
}
# Written where a careless person writes them.
IN_FILE = "canary-in-the-file-3b"
PERSON = "Canary.Person@example.org"


def read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as bundle:
        assert bundle.testzip() is None
        return {name.removesuffix(".json"): json.loads(bundle.read(name)) for name in bundle.namelist()}


def everything(path: Path) -> bytes:
    with zipfile.ZipFile(path) as bundle:
        return b"\n".join(
            [*(name.encode() for name in bundle.namelist()), *map(bundle.read, bundle.namelist())]
        )


@pytest.fixture
def lived(run: Run, world: World, warehouse_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """An account in which people are, decisions were made and things went wrong."""
    make_crm_tables(world, warehouse_url)
    text = SHIPPED.read_text().replace("mode: report", "mode: both")
    config = tmp_path / "sync.yaml"
    config.write_text(text)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    drop = tmp_path / "drop"
    drop.mkdir()
    monkeypatch.setenv("WEBHOOK_DROP_URI", str(drop))
    run("poll")
    (drop / "one.json").write_text(
        json.dumps({"webhook_event": "brand_new", "customer": {"email": PERSON, "name": "Canary Person"}})
    )
    (drop / "half.json").write_text('{"email": "Canary.Person@example.org", "na')
    run("ingest")
    plan = run("plan", "--json").json["plan_hash"]
    run("apply", plan, "--approve", "Canary Person")
    for name, value in CANARIES.items():
        if name != "ENERFLO_API_KEY":
            monkeypatch.setenv(name, value)
    careless = (
        ("api_key: ${ENERFLO_API_KEY}", f"api_key: {IN_FILE}"),
        ("  routes: {}\n", f"  routes:\n    people: {{email: {{connection: {IN_FILE}, to: [{PERSON}]}}}}\n"),
        ("    crm_table: crm.leads\n", f"    crm_table: crm.leads\n    where: \"email <> '{PERSON}'\"\n"),
    )
    for old, new in careless:
        assert old in text, old
        text = text.replace(old, new)
    config.write_text(text)
    (tmp_path / "accounts").mkdir()
    west = (
        f"api_key: {IN_FILE}\nwarehouse_url: ${{WEST_URL}}\nmode: crm\nairflow: {{approvers: [{PERSON}]}}\n"
    )
    west += f"schedule: {{poll: 7 * * * *}}\ntables: {{leads: {{where: \"email <> '{PERSON}'\"}}}}\n"
    (tmp_path / "accounts" / "west.yaml").write_text(west)
    (tmp_path / "accounts" / f"{PERSON}.yaml").write_text("group: plain\n")
    (tmp_path / "accounts" / "torn.yaml").write_text(f"api_key: [{IN_FILE}\n")
    return run


def personal_values(warehouse: sa.Engine) -> set[str]:
    """Texts of the mirror that name people or their places."""
    from enerflo_sync.warehouse.schema import metadata, personal_data_of

    found: set[str] = set()
    with warehouse.connect() as connection:
        for table in [one.name for one in metadata.tables.values() if one.schema == "enerflo"]:
            for column in personal_data_of(table):
                query = f"select distinct {column}::text from enerflo.{table} where {column} is not null"
                found |= set(connection.exec_driver_sql(query).scalars())
    return {value for value in found if len(value) > 5}


def test_no_secret_and_nobody_is_in_it(lived: Run, warehouse: sa.Engine, tmp_path: Path) -> None:
    out = tmp_path / "bundle.zip"
    made = lived("support-bundle", "--out", str(out))
    assert made.code == 0, made.err
    content = everything(out).decode()
    people = personal_values(warehouse)
    assert len(people) > 100
    forbidden = people | set(CANARIES.values()) | {IN_FILE, PERSON, "Canary", "canary", str(tmp_path)}
    assert [value for value in sorted(forbidden) if value in content] == []
    assert re.findall(r"[\w.+-]+@[\w-]+\.\w+", content) == []
    assert "customer_name" in content


def test_what_somebody_who_helps_needs_is_in_it(lived: Run, tmp_path: Path) -> None:
    out = tmp_path / "bundle.zip"
    made = lived("support-bundle", "--out", str(out), "--json").json
    parts = read(out)
    assert (made["path"], made["not_made"]) == (str(out), {})
    assert set(made["parts"]) == set(parts)
    assert parts["about"]["packages"]["sqlalchemy"]
    assert parts["server"]["schema_revision"] == parts["about"]["schema_revision_of_this_program"]
    assert parts["server"]["clock_ahead_seconds"] is not None
    assert {run["job"] for run in parts["runs"]} >= {"poll", "webhooks"}
    sizes = {row["table"]: row for row in parts["tables"]}
    assert sizes["enerflo.installs"]["table_bytes"] > 0
    assert parts["configuration"]["tables"]["installs"]["crm_table"] == "crm.installs"
    assert parts["configuration"]["accounts"]["default"]["warehouse_url"] == "${WAREHOUSE_URL}"
    assert parts["configuration"]["accounts"]["default"]["api_key"].startswith("(a text of ")
    files = parts["account_files"]
    assert len(files) == 3
    assert files["west"]["mode"] == "crm"
    assert files["west"]["warehouse_url"] == "${WEST_URL}"
    assert files["west"]["schedule"] == {"poll": "7 * * * *"}
    assert files["west"]["api_key"] == f"(a text of {len(IN_FILE)} characters)"
    assert files["west"]["tables"]["leads"]["where"].startswith("(a text of ")
    # The same rules as for an account of sync.yaml.
    whole = tmp_path / "whole.yaml"
    text = (tmp_path / "accounts" / "west.yaml").read_text()
    whole.write_text("accounts:\n  west:\n" + "".join(f"    {line}\n" for line in text.splitlines()))
    assert files["west"] == shown_config(whole)["accounts"]["west"]
    assert files["torn"] == {"not_made": "ParserError"}
    assert parts["about"]["accounts_that_cannot_be_used"] == 2
    assert {check["name"] for check in parts["doctor"]} >= {"configuration", "warehouse", "mapping"}
    assert parts["quarantine"]
    assert parts["ledger"]
    assert parts["ledger_seals"]


def test_a_file_that_is_there_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "there.zip"
    out.write_text("mine")
    refused = run("support-bundle", "--out", str(out))
    assert refused.code == 2
    assert "file exists" in refused.err
    assert "--out" in refused.err
    assert out.read_text() == "mine"


def test_without_a_warehouse_it_says_what_could_not_be_read(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://nobody:canary-password@127.0.0.1:9/none")
    out = tmp_path / "bundle.zip"
    made = run("support-bundle", "--out", str(out))
    assert made.code == 0
    assert "server could not be made" in made.out
    parts = read(out)
    assert "could not be reached" in parts["server"]["not_made"]
    assert parts["configuration"]["version"] == "1"
    assert b"canary-password" not in everything(out)


def test_values_of_records_are_not_in_it(
    run: Run,
    world: World,
    warehouse_url: str,
    warehouse: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    make_crm_tables(world, warehouse_url)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(SHIPPED))
    run("poll")
    with warehouse.begin() as connection:
        # The doctor proposes labels of the CRM for those of Enerflo.
        connection.exec_driver_sql(
            "update crm.installs set panel_type = 'Canary module of Miller' where panel_type is not null"
        )
    run("support-bundle", "--out", str(out := tmp_path / "bundle.zip"))
    assert b"Canary" not in everything(out)


SECRETS = {
    # Named by sync.yaml alone, by a proxy, in a query, percent-encoded, and under names that say nothing of a secret.
    "WEST_LOGIN": "Canary-login-of-west-1",
    "HTTPS_PROXY": "http://canary:Canary-proxy-2@proxy.invalid:3128",
    "PLACE": "https://canary.invalid/?token=Canary-query-3",
    "WAREHOUSE_DSN": "postgresql://w:Canary%2Fencoded-4@canary.invalid/db",
    "SLACK_WEBHOOK": "Canary-hook-5",
    "DB_PASS": "Canary-pass-6",
    "BASIC_AUTH": "Canary-auth-7",
}
IN_TEXTS = (
    "Canary-login-of-west-1",
    "Canary-proxy-2",
    "Canary-query-3",
    "Canary/encoded-4",
    "Canary%2Fencoded-4",
    "Canary-hook-5",
    "Canary-pass-6",
    "Canary-auth-7",
)


def test_a_secret_of_any_variable_is_removed_from_texts(
    run: Run, warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No text should have one; should one have, by an error of another program, it does not leave."""
    (config := tmp_path / "sync.yaml").write_text(
        SHIPPED.read_text().replace("api_key: ${ENERFLO_API_KEY}", "api_key: ${WEST_LOGIN}", 1)
    )
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    for name, value in SECRETS.items():
        if name != "HTTPS_PROXY":
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("https_proxy", SECRETS["HTTPS_PROXY"])
    with warehouse.begin() as connection:
        for text in IN_TEXTS:
            connection.execute(
                sa.text(
                    "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
                    " last_seen_at, count, state) values ('default', :text, 'event', 'refused ' || :text, 'f', now(),"
                    " now(), 1, 'open')"
                ),
                {"text": text},
            )
    out = tmp_path / "bundle.zip"
    made = run("support-bundle", "--out", str(out))
    assert made.code == 0, made.err
    reasons = [one["reason"] for one in read(out)["quarantine"]]
    assert len(reasons) >= 1
    assert [text for text in IN_TEXTS if text in everything(out).decode()] == []


def test_plain_names_of_people_and_keys_are_not_in_it(tmp_path: Path) -> None:
    (path := tmp_path / "sync.yaml").write_text(
        "version: 1\naccounts:\n  schedule: {api_key: CanaryKey, schedule: {poll: hourly}}\n"
        "tables:\n  leads: {on_insert: {owner: CanaryMiller}, create_when: {sales_rep: [CanarySmith]}}\n"
    )
    shown = shown_config(path)
    assert "Canary" not in str(shown)
    assert shown["accounts"]["schedule"]["schedule"] == {"poll": "hourly"}
