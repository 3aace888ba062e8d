"""What each command does, prints and exits with, as a person meets it."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.cli.commands import Commands, installed
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.cli.conftest import SHIPPED, Run
from tests.pgbouncer import bouncers

KEYS = ["sandbox-key", "not-the-key"]


def test_migrate_says_what_it_did_and_nothing_the_second_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, empty_warehouse_url: str
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", empty_warehouse_url)
    first, second = run("migrate", "--json"), run("migrate", "--json")
    assert (first.code, first.json["changed"]) == (0, True)
    assert (second.code, second.json["changed"]) == (0, False)


def test_the_whole_first_day(run: Run, world: World) -> None:
    assert run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1").code == 0
    doctor = run("doctor", "--json")
    assert doctor.code == 1
    (warning,) = [finding for check in doctor.json["checks"] for finding in check["findings"]]
    assert "more than one row" in warning["found"]
    polled = run("poll", "--json")
    assert polled.code == 1
    assert polled.json["quarantined"] == 1
    assert polled.json["read"] == polled.json["applied"] + 1
    told = run("poll")
    assert (told.code, told.err) == (1, "")
    assert "What to do about each: enerflo-sync quarantine list" in told.out
    assert run("quarantine", "list").code == 1
    report = run("reconcile", "--json")
    assert report.json["scope"] == "full"
    assert report.json["differences"] > 0


@pytest.mark.parametrize("form", ["text", "html", "json", "csv", "parquet", "xlsx"])
def test_the_report_in_every_format(run: Run, tmp_path: Path, form: str) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    run("poll")
    out = tmp_path / f"report.{form}"
    result = run("reconcile", "--format", form, "--out", str(out))
    content = out.read_bytes()
    assert result.out == ""
    assert f"Written to {out}. " in result.err.replace("\n", "")
    assert "differences are " in result.err.replace("\n", " "), "why it ends with this exit code"
    if form == "parquet":
        assert len(pd.read_parquet(io.BytesIO(content))) > 5
    elif form == "xlsx":
        assert len(pd.read_excel(io.BytesIO(content), sheet_name="installs")) > 5
    elif form == "csv":
        assert len(pd.read_csv(io.BytesIO(content))) > 5
    else:
        assert b"installs" in content
    assert list(tmp_path.iterdir()) == [out]


def test_nothing_polled_yet_is_not_green(run: Run) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    result = run("reconcile")
    assert result.code == 1
    assert "never polled" in result.out


def test_nothing_to_compare_is_not_green(run: Run, warehouse_url: str) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    run("poll")
    with psycopg.connect(warehouse_url.replace("+psycopg", "")) as connection:
        for schema in ("enerflo", "crm"):
            tables = connection.execute(
                "select schemaname || '.' || tablename from pg_tables where schemaname = %s",
                (schema,),
            )
            listed = ", ".join(name for (name,) in tables)
            connection.execute(f"truncate {listed} cascade".encode())
    result = run("reconcile")
    assert "There was nothing to compare" in result.out
    assert result.code == 1


def test_keys_that_never_meet_are_not_green(run: Run, warehouse_url: str) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "0")
    run("poll")
    assert run("reconcile").code == 0
    with psycopg.connect(warehouse_url.replace("+psycopg", "")) as connection:
        connection.execute("update crm.notes set enerflo_note_id = enerflo_note_id + 900000000")
    result = run("reconcile")
    assert "of notes stands on both sides" in result.out
    assert result.code == 1


def test_keys_that_hardly_meet_are_not_green(run: Run, warehouse_url: str) -> None:
    """A text key with zeros in front, as some copies have it, fits only a few rows."""
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "0")
    run("poll")
    with psycopg.connect(warehouse_url.replace("+psycopg", "")) as connection:
        connection.execute("alter table crm.notes alter enerflo_note_id type text")
        connection.execute(
            "update crm.notes set enerflo_note_id = '0' || enerflo_note_id where enerflo_note_id::int % 5 > 0"
        )
    result = run("reconcile")
    assert result.out.startswith("Most rows of notes stand on one side only")
    assert result.code == 1


def test_a_mirror_that_nobody_read_for_days_is_not_green(run: Run, warehouse_url: str) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "0")
    run("poll")
    assert run("reconcile").code == 0
    with psycopg.connect(warehouse_url.replace("+psycopg", "")) as connection:
        connection.execute("update sync.watermarks set value = value - interval '5 days'")
    result = run("reconcile")
    assert result.out.startswith("Enerflo was last read whole 5 d before the comparison\n")
    assert result.code == 1


def test_a_report_has_no_personal_data(run: Run, world: World) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    run("poll")
    for form in ("text", "html", "json", "csv"):
        text = run("reconcile", "--full", "--format", form).out
        for customer in world.truth.customers():
            assert f"{customer.first_name} {customer.last_name}" not in text
        for note in world.truth.notes():
            assert note.body not in text


def test_a_wrong_key_is_one_sentence_and_exit_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERFLO_API_KEY", "not-the-key")
    result = run("poll")
    assert result.code == 2
    assert result.out == ""
    assert "401" in result.err
    assert "key" in result.err
    assert "not-the-key" not in result.err
    assert "Traceback" not in result.err


def test_an_address_of_something_else_is_no_partial_poll(
    run: Run, served: SandboxServer, monkeypatch: pytest.MonkeyPatch, warehouse_url: str
) -> None:
    """A task that reads nothing at all must not be green."""
    run("migrate")
    assert run("poll").code == 1
    monkeypatch.setenv("ENERFLO_BASE_URL", f"{served.url}/elsewhere")
    polled = run("poll")
    assert polled.code == 2
    assert "what answers is not Enerflo's API. Correct base_url" in polled.err
    engine = warehouse_engine(warehouse_url)
    with engine.connect() as connection:
        states = connection.exec_driver_sql("select state from sync.runs order by started_at").scalars().all()
        gone = connection.exec_driver_sql(
            "select count(*) from enerflo.installs where deleted_at is not null"
        )
        assert (states, gone.scalar_one()) == (["partial", "failed"], 0)


def test_doctor_goes_on_after_a_wrong_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    monkeypatch.setenv("ENERFLO_API_KEY", "not-the-key")
    result = run("doctor")
    assert result.code == 2
    assert "✗ Enerflo" in result.out
    assert "✓ mapping" in result.out


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WAREHOUSE_URL", "postgresql://nobody@127.0.0.1:9/none", "could not be reached"),
        ("WAREHOUSE_URL", "mysql://u@h/d", "not a PostgreSQL URL"),
        ("WAREHOUSE_URL", "postgresql://u:p@ss@h/d", "Write an @ of the user or the password as %40"),
        ("WAREHOUSE_URL", "", "WAREHOUSE_URL"),
        ("ENERFLO_API_KEY", "", "ENERFLO_API_KEY"),
        ("ENERFLO_BASE_URL", "http://127.0.0.1:9", "refused the connection"),
        ("ENERFLO_SYNC_CONFIG", "/nowhere/sync.yaml", "/nowhere/sync.yaml"),
    ],
)
def test_a_wrong_set_up_is_one_sentence_and_exit_2(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setattr("enerflo_sync.enerflo.retry.RetryPolicy.wait", lambda *_, **__: None)
    monkeypatch.setenv(variable, value)
    result = run("poll")
    assert result.code == 2
    assert said in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_a_warehouse_that_was_not_migrated_names_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch, empty_warehouse_url: str
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", empty_warehouse_url)
    for command in ("poll", "reconcile"):
        result = run(command)
        assert result.code == 2
        assert "Run enerflo-sync migrate." in " ".join(result.err.split())


def test_an_unknown_account_names_those_there_are(run: Run) -> None:
    result = run("poll", "--account", "defualt")
    assert result.code == 2
    assert "default" in result.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("source_of_truth: newest", "source_of_thruth: newest", "source_of_truth"),
        ("deal_id, type: text", "deal_id, type: txet", "text"),
        ("version: 1", "version: : 1", "YAML"),
        ("per_page: 500", "per_page: many", "per_page"),
        ("\nreconcile:", "\npoll: {}\n\nreconcile:", "poll"),
    ],
)
def test_a_mistake_in_the_mapping_is_said_with_file_line_and_remedy(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = SHIPPED.read_text()
    assert old in text
    path = tmp_path / "sync.yaml"
    path.write_text(text.replace(old, new, 1))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(path))
    line = next(
        n for n, row in enumerate(path.read_text().splitlines(), 1) if new.strip().split("\n")[0] in row
    )
    for command in ("doctor", "poll", "reconcile", "migrate"):
        result = run(command)
        assert result.code == 2
        told = " ".join(result.err.split())
        assert said in told
        assert any(f"sync.yaml:{at}" in told or f"line {at}" in told for at in range(line - 1, line + 3)), (
            told
        )


def test_a_column_that_is_not_there_stops_the_comparison_with_its_nearest_name(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1")
    path = tmp_path / "sync.yaml"
    path.write_text(SHIPPED.read_text().replace("      panel_count:", "      panel_cuont:", 1))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(path))
    doctor, reconcile = run("doctor"), run("reconcile")
    assert doctor.code == 1
    assert reconcile.code == 2
    for text in (doctor.out, reconcile.err):
        told = " ".join(text.split())
        assert "panel_cuont" in told
        assert "panel_count" in told


def test_help_teaches(run: Run) -> None:
    text = run("--help").out
    for word in ("migrate", "doctor", "poll", "reconcile", "sandbox", "demo", "Exit codes"):
        assert word in text


def test_the_doctor_refuses_a_pooler_that_shares_sessions(
    run: Run, warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bouncers() as start:
        monkeypatch.setenv("WAREHOUSE_URL", start(warehouse_url, "transaction"))
        for words in (("doctor",), ("migrate",), ("poll",)):
            refused = run(*words)
            assert refused.code == 2
            assert "Set pool_mode = session for this database" in refused.err
            assert len(refused.err.splitlines()) == 1


def test_a_poll_of_new_notes_that_finds_none_does_not_speak_of_an_empty_account(run: Run) -> None:
    run("poll")
    again = run("poll", "--resource", "notes")
    assert again.code == 0
    assert "Enerflo listed no new record." in again.out
    assert "empty account" not in again.out


def test_every_command_prints_json_but_for_the_demo() -> None:
    for name in installed():
        command = Commands().get_command(None, name)
        for one in getattr(command, "commands", {name: command}).values():
            options = {option for parameter in one.params for option in parameter.opts}
            assert "--json" in options or name == "demo", f"{name} {one.name}"


def test_a_check_that_the_doctor_did_not_make_has_no_green_mark(run: Run) -> None:
    """Nothing was polled yet, so no key can meet."""
    run("migrate")
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7")
    result = run("doctor")
    (line,) = [one for one in result.out.splitlines() if "match.installs" in one]
    assert line.startswith("- match.installs: not previewed: the mirror holds no installs yet")
    (check,) = [one for one in run("doctor", "--json").json["checks"] if one["name"] == "match.installs"]
    assert check["made"] is False
