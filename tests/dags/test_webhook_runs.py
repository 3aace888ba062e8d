"""Whole runs of the webhook and the replay DAG: files in a folder, a company over HTTP, a real warehouse."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from airflow.dag_processing.bundles import manager as bundle_manager
from airflow.dag_processing.dagbag import DagBag
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from structlog.testing import capture_logs

from enerflo_sandbox.server import SandboxServer
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_fixtures import Setting, enerflo_connection
from tests.dags.test_runs import everything_kept_in_airflow, result, run, states

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]

# As whom dag.test() starts a run.
WHO = "dag_test"
UNKNOWN = {"webhook_event": "install_teleported", "id": 1, "email": "ana@example.com"}


@pytest.fixture
def drop(connected: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hooks" / "drop"
    folder.mkdir(parents=True)
    monkeypatch.setenv("WEBHOOK_DROP_URI", str(folder))
    return folder


@pytest.fixture
def warehouse(connected: Setting) -> Iterator[sa.Engine]:
    engine = warehouse_engine(connected.warehouse_url)
    yield engine
    engine.dispose()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """What tasks log, from INFO on; the tests' Airflow itself is quiet."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with capture_logs() as lines:
        yield lines
    structlog.configure(**before)


def put(drop: Path, name: str, body: Any) -> None:
    (drop / name).write_text(body if isinstance(body, str) else json.dumps(body))


def update_of(company: SandboxServer, number: int) -> dict[str, Any]:
    install = company.api.world.installs.get(number)
    return {"webhook_event": "update_install", "id": install.install_id}


def values(warehouse: sa.Engine, query: str) -> list[Any]:
    with warehouse.connect() as connection:
        return list(connection.scalars(sa.text(query)))


def test_a_dropped_file_reaches_the_mirror_and_the_archive(
    drop: Path, company: SandboxServer, warehouse: sa.Engine
) -> None:
    first, second = update_of(company, 3), update_of(company, 4)
    put(drop, "one.json", first)
    put(drop, "two.json", [second, second])
    ran = run("enerflo_webhooks")
    assert states(ran) == {"ingest": "success", "announce_change": "success"}
    assert set(values(warehouse, "select install_id from enerflo.installs")) == {first["id"], second["id"]}
    assert set(values(warehouse, "select observed_by from enerflo.installs")) == {"webhook"}
    assert list(drop.iterdir()) == []
    assert len(list((drop.parent / "archive").rglob("*.json"))) == 2
    counts = result(ran, "ingest")
    assert counts["state"] == "ok"
    assert counts["run_id"] == f"enerflo_webhooks/{ran.run_id}"
    assert values(warehouse, "select run_id from sync.runs where job = 'webhooks'") == [counts["run_id"]]
    assert str(ran.note).startswith("3 events · 1 of them copies · 2 applied · 0 waiting · 0 quarantined")


def test_a_run_that_finds_nothing_starts_no_reconciliation(drop: Path, company: SandboxServer) -> None:
    ran = run("enerflo_webhooks")
    assert states(ran) == {"ingest": "success", "announce_change": "skipped"}
    assert str(ran.state) == "success"
    assert str(ran.note).startswith("0 events · ")


def test_an_event_about_what_the_mirror_knows_starts_no_reconciliation(
    drop: Path, company: SandboxServer
) -> None:
    body = update_of(company, 5)
    put(drop, "one.json", body)
    assert states(run("enerflo_webhooks"))["announce_change"] == "success"
    put(drop, "again.json", {**body, "note": "another event, the same record"})
    ran = run("enerflo_webhooks")
    assert result(ran, "ingest")["applied"] >= 1
    assert states(ran)["announce_change"] == "skipped"


def test_what_is_quarantined_makes_the_run_partial_and_green(
    drop: Path, company: SandboxServer, warehouse: sa.Engine
) -> None:
    good = update_of(company, 6)
    put(drop, "broken.json", '{"webhook_event": "update_inst')
    put(drop, "good.json", good)
    put(drop, "unknown.json", UNKNOWN)
    ran = run("enerflo_webhooks")
    assert str(ran.state) == "success"
    assert result(ran, "ingest")["state"] == "partial"
    assert result(ran, "ingest")["quarantined"] == 2
    note = str(ran.note)
    assert note.startswith("partial · ")
    assert "2 quarantined" in note
    assert "listed in sync.quarantine with state open" in note
    assert values(warehouse, "select install_id from enerflo.installs") == [good["id"]]
    assert "ana@example.com" not in note + everything_kept_in_airflow(ran)


def test_without_a_drop_the_run_fails_at_once_and_says_what_to_set(
    connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBHOOK_DROP_URI", raising=False)
    ran = run("enerflo_webhooks")
    assert states(ran) == {"ingest": "failed", "announce_change": "upstream_failed"}
    assert "Set WEBHOOK_DROP_URI" in str(ran.note)


def test_after_a_run_that_failed_the_next_one_starts_a_reconciliation(
    drop: Path, connected: Setting, company: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failed one may have stored records, and announced none of them."""
    put(drop, "one.json", update_of(company, 7))
    run("enerflo_webhooks")
    with monkeypatch.context() as wrong:
        wrong.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", enerflo_connection(connected.sandbox_url, "wrong-key"))
        put(drop, "two.json", {**update_of(company, 7), "again": 1})
        failed = run("enerflo_webhooks")
    assert str(failed.state) == "failed"
    assert "does not accept the API key" in str(failed.note)
    assert list(drop.iterdir()) == []
    assert states(run("enerflo_webhooks"))["announce_change"] == "success"
    assert states(run("enerflo_webhooks"))["announce_change"] == "skipped"


def quarantined(drop: Path, warehouse: sa.Engine) -> tuple[str, str]:
    """Put one event into quarantine and return its item's id and fingerprint."""
    put(drop, "unknown.json", UNKNOWN)
    run("enerflo_webhooks")
    with warehouse.connect() as connection:
        found = connection.execute(sa.text("select item_id, fingerprint from sync.quarantine")).one()
    return str(found.item_id), str(found.fingerprint)


def test_a_replay_is_dry_unless_told_otherwise(drop: Path, warehouse: sa.Engine, logged: list[Any]) -> None:
    item, fingerprint = quarantined(drop, warehouse)
    ran = run("enerflo_replay", value=fingerprint)
    assert states(ran) == {"settle": "success", "announce_change": "skipped"}
    assert str(ran.note).startswith(f"dry run for {WHO}, nothing was changed · 1 item")
    assert values(warehouse, "select state from sync.quarantine") == ["open"]
    assert values(warehouse, "select 1 from sync.runs where job = 'replay'") == []
    assert result(ran, "settle")["items"] == 1
    [line] = [line["event"] for line in logged if line["event"].startswith("replay_item ")]
    assert line.startswith(f"replay_item {item} kind=event outcome=still_failing ")
    assert "ana@example.com" not in str(logged)
    assert item not in everything_kept_in_airflow(ran)


def test_a_replay_takes_in_what_a_correction_has_made_readable(
    drop: Path, company: SandboxServer, warehouse: sa.Engine, tmp_path: Path
) -> None:
    """Events of this name are declared to ask for nothing, so the item is settled."""
    item, _ = quarantined(drop, warehouse)
    failing = run("enerflo_replay", selection="items", value=item, action="replay")
    assert str(failing.note).startswith(f"partial · replayed by {WHO} · 1 item · 1 still failing")
    config = tmp_path / "sync.yaml"
    config.write_text(
        config.read_text().replace("ignored_events: []", "ignored_events: [install_teleported]")
    )
    ran = run("enerflo_replay", selection="items", value=item, action="replay")
    assert str(ran.note).startswith(f"replayed by {WHO} · 1 item · 1 replayed")
    assert result(ran, "settle")["outcomes"] == {"replayed": 1}
    assert values(warehouse, "select state from sync.quarantine") == ["replayed"]
    assert values(warehouse, "select decided_by from sync.quarantine") == [WHO]
    runs = values(warehouse, "select run_id from sync.runs where job = 'replay'")
    assert f"enerflo_replay/{ran.run_id}" in runs


def test_a_dismissal_needs_a_reason_and_keeps_it(drop: Path, warehouse: sa.Engine) -> None:
    _, fingerprint = quarantined(drop, warehouse)
    refused = run("enerflo_replay", value=fingerprint, action="dismiss")
    assert str(refused.state) == "failed"
    assert "no reason is given" in str(refused.note)
    ran = run("enerflo_replay", value=fingerprint, action="dismiss", reason="a test of the gateway")
    assert str(ran.note).startswith(f"dismissed by {WHO} · 1 item")
    assert values(warehouse, "select decision_reason from sync.quarantine") == ["a test of the gateway"]
    assert values(warehouse, "select state from sync.quarantine") == ["dismissed"]


WAITING_DAG = """
from airflow.sdk import dag
from enerflo_airflow.sensor import WebhookDropSensor

@dag(schedule=None)
def waits_for_webhooks():
    WebhookDropSensor(task_id="wait", poke_interval=0.1, timeout=60)

waits_for_webhooks()
"""


@pytest.fixture
def bundles_are_read_again() -> Iterator[None]:
    """From 3.4 on Airflow reads the configured bundles once for each process."""
    caches = [one for one in vars(bundle_manager).values() if hasattr(one, "cache_clear")]
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_a_deferred_sensor_goes_on_when_a_file_arrives(
    drop: Path, tmp_path: Path, bundles_are_read_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "waits_for_webhooks.py").write_text(WAITING_DAG)
    bundle = {
        "name": "waiting",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    late = threading.Timer(6, (drop / "late.json").write_text, ["{}"])
    late.start()
    ran = DagBag(dag_folder=str(folder)).dags["waits_for_webhooks"].test()
    late.join()
    assert str(ran.state) == "success"
    with create_session() as session:
        query = XComModel.get_many(run_id=ran.run_id, dag_ids=ran.dag_id, key="return_value")
        assert [XComModel.deserialize_value(row) for row in session.scalars(query)] == [1]
