"""The reconciliation report says what poll and webhooks saw, where there are webhooks at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from enerflo_sync.reconcile.store import load_report

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

# The moment at which `sides` reconciles.
NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
FIRST = NOW - timedelta(days=2)


def webhook(sides: TwoSides) -> None:
    sides.insert(
        "sync.webhook_events",
        **{"account": "default", "event_id": "e", "event": "update_install", "content_hash": "h"},
        **{"received_at": FIRST, "source_uri": "file:///f", "state": "applied", "body": {}},
    )


def change(sides: TwoSides, record: str, *, poll: datetime | None, webhook: datetime | None) -> None:
    sides.insert(
        "sync.witnesses",
        **{"account": "default", "record": record, "content_hash": "h", "event": "update_install"},
        **{"poll_seen_at": poll, "webhook_seen_at": webhook},
    )


def test_an_account_without_webhooks_has_no_witnesses(sides: TwoSides) -> None:
    sides.polled()
    change(sides, "installs/1", poll=NOW - timedelta(days=1), webhook=None)
    assert sides.reconcile().witnesses is None


def test_the_report_holds_the_figures_and_comes_back_with_them(sides: TwoSides) -> None:
    sides.polled()
    webhook(sides)
    change(sides, "installs/1", poll=NOW - timedelta(days=1), webhook=None)
    change(sides, "installs/2", poll=NOW, webhook=NOW - timedelta(minutes=3))
    change(sides, "installs/3", poll=FIRST - timedelta(minutes=1), webhook=None)
    report = sides.reconcile()
    assert report.witnesses is not None
    total = report.witnesses.total
    assert (total.changes, total.told, total.both, total.missed) == (2, 1, 1, 1)
    assert load_report(sides.engine, "default") == report
