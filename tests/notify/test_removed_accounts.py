"""Alerts of an account that was removed from the configuration end with words, told by the jobs of another one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.routes import NotifyEvent, Route
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.notify import notify
from enerflo_sync.notify.removed import notify_removed
from tests.notify.conftest import EVERYTHING, People, config_with
from tests.notify.test_alerts import key

WEST = "accounts:\n  west: {webhook_drop_uri: /drops/west}\n"
DAY = 24 * 60


class Desk(People):
    """People who are told of two accounts, of which ``west`` is removed."""

    def both(self) -> SyncConfig:
        path = self.folder / "sync.yaml"
        path.write_text(path.read_text().replace("accounts:\n", WEST, 1))
        return load_config(path, {})

    def told_of_west(self, config: SyncConfig) -> list[Message]:
        before = len(self.told)
        notify(self.engine, config, "west", self._send, clock=self.clock)
        return self.told[before:]

    def removed(self, minutes: float) -> list[Message]:
        """What the jobs of ``default`` tell of accounts that are not named any more."""
        self.clock.moment += timedelta(minutes=minutes)
        before = len(self.told)
        notify_removed(self.engine, self.config, self._send, clock=self.clock)
        return self.told[before:]


@pytest.fixture
def desk(warehouse: sa.Engine, tmp_path: Path) -> Desk:
    """``west`` waits for its requests, and people know; then it is removed from the configuration."""
    found = Desk(warehouse, tmp_path)
    config = found.both()
    assert found.told_of_west(config) == []
    blocked(found)
    (message,) = found.told_of_west(config)
    assert (message.account, message.event) == ("west", NotifyEvent.BUDGET_EXHAUSTED)
    found.config = config_with(tmp_path, f"{{routes: {EVERYTHING}}}")
    return found


def blocked(desk: Desk) -> None:
    desk.sql("delete from sync.request_budgets")
    key(desk, blocked=desk.now + timedelta(minutes=40))
    desk.sql("update sync.request_budgets set account = 'west'")


def test_an_alert_of_a_removed_account_is_not_watched_any_more_and_that_is_told_once(desk: Desk) -> None:
    assert desk.removed(DAY - 1) == [], "another worker may have an older configuration"
    (message,) = desk.removed(2)
    assert message.subject == "Enerflo west: resolved: not watched any more"
    assert "This does not say that it is well." in message.text
    assert message.text.endswith("- API key 0123456789ab")
    assert desk.removed(DAY) == []
    assert desk.sql("select event from sync.told where account = 'west'") == []


def test_an_account_that_another_airflow_runs_is_left_alone(desk: Desk) -> None:
    desk.sql(
        "insert into sync.runs (account, run_id, job, started_at, state)"
        " values ('west', 'r', 'poll', :now, 'ok')",
        now=desk.now + timedelta(hours=20),
    )
    assert desk.removed(DAY + 60) == []
    assert len(desk.removed(DAY)) == 1


def test_a_message_that_could_not_be_sent_is_sent_by_the_next_run(desk: Desk) -> None:
    desk.deaf = True
    assert desk.removed(DAY + 1) == []
    desk.deaf = False
    (message,) = desk.removed(10)
    assert message.resolved
    assert desk.removed(10) == []


def test_an_account_that_comes_back_is_told_of_what_stands_then(desk: Desk) -> None:
    desk.removed(DAY + 1)
    config = desk.both()
    assert desk.told_of_west(config) == []
    blocked(desk)
    (message,) = desk.told_of_west(config)
    assert message.event is NotifyEvent.BUDGET_EXHAUSTED


def test_an_account_whose_file_cannot_be_read_is_not_removed(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "accounts").mkdir()
    (tmp_path / "accounts" / "west.yaml").write_text("mod: crm\n")
    desk.config = load_config(tmp_path / "sync.yaml", {})
    assert "west" in desk.config.unusable
    assert desk.removed(3 * DAY) == []


def test_what_is_no_alert_of_a_removed_account_ends_without_words(desk: Desk) -> None:
    desk.sql("update sync.told set event = 'quarantine_growing' where account = 'west'")
    assert desk.removed(DAY + 1) == []
    assert desk.sql("select event from sync.told where account = 'west'") == []


def test_news_that_a_removed_account_told_is_not_told_again_when_it_comes_back(desk: Desk) -> None:
    desk.sql(
        "insert into sync.told (account, event, key, size, told_at)"
        " values ('west', 'project_submitted', 'd1', 1, :now)",
        now=desk.now,
    )
    assert len(desk.removed(DAY + 1)) == 1
    assert desk.sql("select event from sync.told where account = 'west'") == [{"event": "project_submitted"}]


def test_routes_of_other_accounts_do_not_hear_of_it(desk: Desk, tmp_path: Path) -> None:
    desk.config = config_with(
        tmp_path,
        "{routes: {own: {accounts: [default], http: {connection: c}}, few: {level: error, http: {connection: c}}}}",
    )
    assert [isinstance(route, Route) for route in desk.config.notify.routes.values()] == [True, True]
    assert desk.removed(DAY + 1) == []
