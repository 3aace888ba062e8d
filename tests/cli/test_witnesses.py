"""``enerflo-sync witnesses`` as a person meets it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.cli.conftest import Run

NOW = datetime.now(UTC)


@pytest.fixture
def with_changes(warehouse_url: str, run: Run) -> Run:
    """Three changes of yesterday: told after 4 s, after 6 s, and missed."""
    yesterday = NOW - timedelta(days=1)
    engine = sa.create_engine(warehouse_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.webhook_events"
                " (account, event_id, event, content_hash, received_at, source_uri, state, body)"
                " values ('default', 'e', 'update_install', 'h', :at, 'file:///f', 'applied', '{}')"
            ),
            {"at": yesterday - timedelta(hours=1)},
        )
        for number, delay in enumerate((4, 6, None)):
            connection.execute(
                sa.text(
                    "insert into sync.witnesses (account, record, content_hash, event, changed_at,"
                    " poll_seen_at, webhook_seen_at)"
                    " values ('default', :record, 'h', 'update_install', :at, :poll, :webhook)"
                ),
                {
                    "record": f"installs/{number + 1}",
                    "at": yesterday,
                    "poll": yesterday + timedelta(minutes=5),
                    "webhook": None if delay is None else yesterday + timedelta(seconds=delay),
                },
            )
    engine.dispose()
    return run


def test_an_account_without_webhooks_is_said_to_have_none(run: Run) -> None:
    result = run("witnesses")
    assert (result.code, result.err) == (0, "")
    assert "No webhook was ever received" in result.out


def test_the_table_and_what_it_comes_to(with_changes: Run) -> None:
    result = with_changes("witnesses")
    assert result.code == 0, "it is a report, whatever is missed"
    sentence, *lines = result.out.splitlines()
    assert sentence == "Of 3 changes 2 were told by a webhook, 1 was missed; half of them within 5 s."
    assert lines[0].split()[:4] == ["day", "event", "changes", "told"]
    assert f"{NOW - timedelta(days=1):%Y-%m-%d}" in lines[1]
    assert lines[1].split()[1:6] == ["update_install", "3", "2", "0", "1"]


def test_the_same_as_json_and_of_fewer_days(with_changes: Run) -> None:
    document = with_changes("witnesses", "--json").json
    assert document["sentence"].startswith("Of 3 changes")
    assert document["total"] | {"delay_p95": None} == {
        **{"event": None, "day": None, "changes": 3, "told": 2, "both": 2, "late": 0, "missed": 1},
        **{"unconfirmed": 0, "replaced": 0, "waiting": 0},
        **{"delay_p50": 5.0, "delay_p95": None, "delay_max": 6.0},
    }
    assert [one["event"] for one in document["by_day"]] == ["update_install"]
    assert with_changes("witnesses", "--days", "1", "--json").json["total"]["changes"] == 0


def test_no_days_are_refused(run: Run) -> None:
    assert run("witnesses", "--days", "0").code == 2
