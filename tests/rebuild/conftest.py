"""A company whose mirror was filled by polls and webhooks, and rebuilds of that mirror."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.rebuild.condition import read_condition
from enerflo_sync.rebuild.rebuild import rebuild
from enerflo_sync.rebuild.report import RebuildReport, TableDifference
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata
from tests.inbox.conftest import Inbox, NewInbox, inbox, kept_polled, new_company, new_inbox, polled
from tests.inbox.kept import KeptInbox, keep_inbox

__all__ = ["inbox", "kept_polled", "new_inbox", "polled"]

# When and how a row was seen; a rebuild moves these on rows that it writes.
SEEN = ("observed_at", "observed_by", "raw_hash")
TABLES = [table for table in metadata.tables.values() if table.schema == MIRROR_SCHEMA]

Snapshot = dict[str, set[tuple[Any, ...]]]


def damage(company: Inbox, statement: str, **values: Any) -> int:
    """Do to the warehouse what nobody should, and return how many rows it hit."""
    with company.warehouse.begin() as connection:
        return connection.execute(sa.text(statement), values).rowcount


def run_rebuild(company: Inbox, where: str | None = None, **options: Any) -> RebuildReport:
    """Rebuild and write, unless told otherwise, and let a minute pass."""
    options = {"write": True} | options
    try:
        return rebuild(
            company.warehouse,
            company.account,
            clock=company.clock,
            rng=random.Random(1),
            condition=None if where is None else read_condition(where),
            **options,
        )
    finally:
        company.clock.advance(60)


def table(report: RebuildReport, name: str) -> TableDifference:
    (found,) = [one for one in report.tables if one.table_name == name]
    return found


def counts(report: RebuildReport) -> dict[str, tuple[int, int, int]]:
    """New, changed and gone by table, of those that differ at all."""
    found = {one.table_name: (one.new, one.changed, one.gone) for one in report.tables}
    return {name: three for name, three in found.items() if any(three)}


def snapshot(company: Inbox, leave_out: tuple[str, ...] = (), versions: bool = False) -> Snapshot:
    """Every row of every mirror table.

    :param versions: with PostgreSQL's own mark of each row's last write.
    """
    taken = {}
    for one in TABLES:
        columns = [column.name for column in one.columns if column.name not in leave_out]
        mark = ", xmin::text" if versions else ""
        listed = ", ".join(f"{name}::text" for name in columns)
        taken[one.name] = set(company.rows(f"select {listed}{mark} from {one.fullname}"))
    return taken


def observed(company: Inbox, name: str = "installs") -> dict[tuple[Any, ...], tuple[datetime, str]]:
    """When and by whom each row was seen."""
    key = [
        column.name for column in metadata.tables[f"enerflo.{name}"].primary_key if column.name != "account"
    ]
    rows = company.rows(f"select {', '.join(key)}, observed_at, observed_by from enerflo.{name}")
    return {row[:-2]: row[-2:] for row in rows}


@pytest.fixture(scope="session")
def kept_lived(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> KeptInbox:
    """The company of ``lived``, to be copied."""
    return keep_inbox(
        postgres_url, lambda warehouse: live(new_company(warehouse, tmp_path_factory.mktemp("lived"), 30))
    )


@pytest.fixture
def lived(kept_lived: KeptInbox, tmp_path: Path) -> Iterator[Inbox]:
    """A company that was polled and told of by webhooks for a week, with edits, deletions and designs."""
    with kept_lived.copied(tmp_path) as found:
        yield found


@pytest.fixture
def make_lived(new_inbox: NewInbox) -> Callable[..., Inbox]:
    def make(**api: Any) -> Inbox:
        return live(new_inbox(30, **api))

    return make


def live(company: Inbox) -> Inbox:
    company.company.poll()
    for day in range(4):
        before = len(company.world.changes)
        company.world.step(24 * 60, events=25)
        company.drop_changes(before, seed=day)
        company.ingest()
        if day == 1:
            company.world.delete_install(sorted(row.install_id for row in company.world.truth.installs())[3])
        company.company.poll(full=day == 3)
    company.company.poll()
    assert company.one("select count(*) from enerflo.installs where deleted_at is not null") > 0
    assert company.one("select count(*) from enerflo.submissions") > 0
    assert company.one("select count(*) from enerflo.install_versions where observed_by = 'webhook'") > 0
    return company
