"""``enerflo-sync notify``: what would be told, and exit code 1 for what could not be sent."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.cli.conftest import SHIPPED, Run


@pytest.fixture
def migrated(run: Run) -> Run:
    assert run("migrate").code == 0
    return run


@pytest.fixture
def waiting(migrated: Run, warehouse_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A route, and a plan that waits."""
    config = tmp_path / "with_routes.yaml"
    config.write_text(SHIPPED.read_text().replace("routes: {}", "routes: {chat: {http: {connection: chat}}}"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    execute(
        warehouse_url,
        "insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count,"
        " needs_approval, mode, config_hash) values ('default', repeat('a', 64), 'sync', now(),"
        " now() + interval '1 day', 'open', 7, true, 'both', 'c')",
    )
    return migrated


def execute(url: str, statement: str) -> None:
    engine = warehouse_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_without_a_route_nobody_is_told_and_the_command_says_so(migrated: Run) -> None:
    found = migrated("notify")
    assert found.code == 0
    assert "no route for this account under notify" in found.out


def test_what_would_be_told_is_shown_and_not_taken_for_told(waiting: Run) -> None:
    for _ in range(2):
        found = waiting("notify")
        assert found.code == 0
        assert "would be told on chat: Enerflo default: a plan waits for an approval" in found.out
        assert "- plan aaaaaaaaaaaa, changes 7, open until" in found.out


def test_json_has_the_messages(waiting: Run) -> None:
    found = waiting("notify", "--json").json
    assert [message["event"] for message in found["new"]] == ["plan_waiting"]
    assert found["kept"] == []


def test_a_message_that_could_not_be_sent_waits_for_a_person(waiting: Run, warehouse_url: str) -> None:
    execute(
        warehouse_url,
        "insert into sync.notifications (account, event, route, subject, text, page, page_id, count, state,"
        " created_at, attempts, error) values ('default', 'plan_waiting', 'chat', 'a plan waits', 't', 'plans',"
        " '', 1, 'failed', now(), 5, 'route chat: the other side answered 403.')",
    )
    found = waiting("notify")
    assert found.code == 1
    assert "failed" in found.out
    assert "route chat: the other side answered 403." in found.out
