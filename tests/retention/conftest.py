"""A company that lived for a while, and prunes long after."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.drop.drop import Drop
from enerflo_sync.jobs.prune import run_prune
from enerflo_sync.retention.prune import prune
from enerflo_sync.retention.report import PrunedKind, PruneReport
from tests.inbox.conftest import Inbox, inbox, kept_polled, new_company, new_inbox, polled
from tests.inbox.kept import KeptInbox, keep_inbox
from tests.writes.conftest import Desk, agreed, agreed_warehouse, agreeing, desk, polled_warehouse

__all__ = [
    "agreed",
    "agreed_warehouse",
    "agreeing",
    "desk",
    "inbox",
    "kept_polled",
    "new_inbox",
    "polled",
    "polled_warehouse",
]

SHIPPED = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"
# Every kind has a bound, and all of them are over after three years.
EVERYTHING = "retention:\n  archive_days: 300\n  ledger_days: 300"
LATER = timedelta(days=1_100)


def live(company: Inbox) -> Inbox:
    company.company.poll()
    for day in range(3):
        before = len(company.world.changes)
        company.world.step(24 * 60, events=25)
        company.drop_changes(before, seed=day)
        company.ingest()
        company.company.poll()
    assert company.one("select count(*) from enerflo.submissions") > 0
    return company


@pytest.fixture(scope="session")
def kept_lived(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> KeptInbox:
    """The company of ``lived``, to be copied."""
    return keep_inbox(
        postgres_url, lambda warehouse: live(new_company(warehouse, tmp_path_factory.mktemp("lived")))
    )


@pytest.fixture
def lived(kept_lived: KeptInbox, tmp_path: Path) -> Iterator[Inbox]:
    """A company that was polled and told of by webhooks for some days, with edits and designs."""
    with kept_lived.copied(tmp_path) as found:
        yield found


def configured(folder: Path, *edits: tuple[str, str]) -> SyncConfig:
    """Return the shipped configuration with a bound for every kind, and with some of its texts replaced."""
    text = SHIPPED.read_text().replace("retention:", EVERYTHING, 1)
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "sync.yaml"
    path.write_text(text)
    return load_config(path, {})


class Later(SystemClock):
    """A clock that is ahead, as seen long after."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> Any:
        return super().now() + self.ahead


def pruned(company: Inbox, *, dry: bool = False, **options: Any) -> PruneReport:
    """Prune an inbox's account, three years after what it holds if its clock was not moved on."""
    config = options.pop("config", None) or configured(company.folder.parent)
    drop: Callable[[], Drop | None] = lambda: company.place  # noqa: E731
    return prune(
        company.warehouse,
        config,
        company.account,
        drop,
        clock=company.clock,
        rng=random.Random(1),
        dry=dry,
        **options,
    )


def pruned_at_desk(desk: Desk, ahead: timedelta = LATER, **options: Any) -> PruneReport:
    """Prune the desk's account as if it were later."""
    clock = desk.context.clock
    desk.context.clock = Later(ahead)
    try:
        return run_prune(desk.context, **options)
    finally:
        desk.context.clock = clock


def kind(report: PruneReport, name: str) -> PrunedKind:
    (found,) = (one for one in report.kinds if one.kind == name)
    return found


def counts(report: PruneReport) -> dict[str, int]:
    """Rows by kind, of those of which anything went."""
    return {str(one.kind): one.rows for one in report.kinds if one.rows}
