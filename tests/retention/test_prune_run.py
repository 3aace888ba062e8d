"""One run of prune over rows that were put there one by one: its report, its notes, and who asks for them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.retention import Kept
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.retention import sweep
from enerflo_sync.retention.prune import prune
from enerflo_sync.retention.report import PruneReport
from enerflo_sync.warehouse.pruned import PrunedVersions, Pruning, pruned_versions_of, pruning_of
from tests.retention.conftest import kind
from tests.retention.rows import BOUND, DAY, MOMENT, NOW, OLD, put, rows_of

ACCOUNT = "one"
CONFIG = """
version: 1
accounts: {one: {mode: both}}
retention: {runs_days: 10, looks_days: null, %s}
reconcile: {keep_days: 20}
tables:
  notes:
    crm_table: crm.notes
    key: {note: note_id}
    fields: {body: {enerflo: body, type: text}}
"""


class Fixed(SystemClock):
    def now(self) -> datetime:
        return NOW


def configured(folder: Path, options: str = "plans_days: 30") -> SyncConfig:
    path = folder / "sync.yaml"
    path.write_text(CONFIG % options)
    return load_config(path, {})


def pruned(engine: sa.Engine, folder: Path, *, dry: bool = False, **options: Any) -> PruneReport:
    config = configured(folder, options.pop("options", "plans_days: 30"))
    named = {"clock": Fixed(), "rng": random.Random(1), "dry": dry}
    return prune(engine, config, ACCOUNT, lambda: None, **(named | options))


def calls(connection: sa.Connection, days: int, account: str = ACCOUNT) -> None:
    at = NOW - timedelta(days=days)
    put(connection, "sync.api_calls", account=account, endpoint=f"{days}", hour=at)


def test_a_report_says_what_went_of_each_kind(
    warehouse: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    with warehouse.begin() as connection:
        for days in (11, 13, 15, 17, 9):
            calls(connection, days)
        put(connection, "sync.notifications", account=ACCOUNT, created_at=NOW - 40 * DAY, state="sent")
        put(connection, "sync.notifications", account=ACCOUNT, created_at=NOW - 12 * DAY, state="sent")
        calls(connection, 30, "other")
    for dry in (True, False):
        ticks: list[tuple[str, int, int | None]] = []
        report = pruned(warehouse, tmp_path, dry=dry, progress=lambda *tick, to=ticks: to.append(tick))
        runs = kind(report, "runs")
        # Over all batches and tables, whatever came last.
        assert (runs.rows, runs.oldest, runs.newest) == (6, NOW - 40 * DAY, NOW - 11 * DAY)
        assert (runs.option, runs.days, runs.before) == ("retention.runs_days", 10, NOW - 10 * DAY)
        assert runs.size > 100
        assert [one.kind for one in report.kinds] == list(Kept)
        assert {one.kind for one in report.kinds if one.before is None} == {"looks", "archive", "ledger"}
        others = [one for one in report.kinds if one.kind != "runs"]
        assert {(one.rows, one.size, one.oldest, one.newest) for one in others} == {(0, 0, None, None)}
        assert (report.rows, report.size, report.deleted) == (6, runs.size, not dry)
        assert (report.started_at, report.run_id is None) == (NOW, dry)
        assert ticks == [("runs", 2, None), ("runs", 4, None), ("runs", 6, None)]
    recorded = rows_of(warehouse, "select run_id, job, state, read, applied, resources from sync.runs")
    ((run_id, job, state, read, applied, resources),) = recorded
    assert (run_id, job, state, read, applied) == (report.run_id, "prune", "ok", 6, 6)
    assert resources.keys() == {"runs"}
    noted = rows_of(warehouse, "select run_id, kind, rows, bound, pruned_at from sync.prunings")
    assert noted == [(run_id, "runs", 6, "retention.runs_days: 10", NOW)]
    left = rows_of(warehouse, "select account, endpoint from sync.api_calls order by 1, 2")
    assert left == [(ACCOUNT, "9"), ("other", "30")]


def test_a_run_has_the_id_that_it_is_given(warehouse: sa.Engine, tmp_path: Path) -> None:
    assert pruned(warehouse, tmp_path, run_id="of-airflow").run_id == "of-airflow"


@pytest.mark.parametrize(
    ("options", "age", "refused"),
    [
        ("plans_days: 30", 31, "retention.plans_days: 30"),
        ("plans_days: null", 21, "reconcile.keep_days: 20"),
        ("plans_days: null", 19, None),
        ("plans_days: null, differences_days: 20, reports_days: 5", 6, "retention.reports_days: 5"),
        ("plans_days: null, reports_days: null", 19, None),
    ],
)
def test_a_plan_that_waits_is_not_left_without_what_it_stands_on(
    warehouse: sa.Engine, tmp_path: Path, options: str, age: int, refused: str | None
) -> None:
    later = datetime(2400, 1, 1, tzinfo=UTC)
    with warehouse.begin() as connection:
        values = {"state": "open", "change_count": 1, "created_at": NOW - age * DAY, "expires_at": later}
        put(connection, "sync.plans", account=ACCOUNT, plan_hash="p", **values)
        calls(connection, 11)
    for dry in (True, False):
        if refused is None:
            pruned(warehouse, tmp_path, dry=dry, options=options)
            continue
        with pytest.raises(ConfigurationError, match=refused):
            pruned(warehouse, tmp_path, dry=dry, options=options)
        assert rows_of(warehouse, "select * from sync.runs") == []
        assert rows_of(warehouse, "select endpoint from sync.api_calls") == [("11",)]


def test_a_look_needs_no_other_prune_to_end(warehouse: sa.Engine, tmp_path: Path) -> None:
    from enerflo_sync.errors import RetriableError
    from enerflo_sync.warehouse.alone import alone

    with warehouse.connect() as other, alone(other, ACCOUNT, "prune"):
        assert pruned(warehouse, tmp_path, dry=True).rows == 0
        with pytest.raises(RetriableError, match="another prune is running"):
            pruned(warehouse, tmp_path)


def test_who_misses_something_is_told_of_the_first_run_that_may_have_deleted_it(warehouse: sa.Engine) -> None:
    usual = {"account": ACCOUNT, "kind": "plans", "pruned_at": NOW, "oldest": OLD, "before": OLD + 10 * DAY}
    with warehouse.begin() as connection:
        put(connection, "sync.prunings", **usual, run_id="b", bound="first")
        later = {"run_id": "c", "pruned_at": NOW + DAY, "before": OLD + 20 * DAY, "bound": "second"}
        put(connection, "sync.prunings", **usual | later)
        for name, other in (("kind", "runs"), ("account", "other")):
            earlier = {name: other, "run_id": "a", "oldest": OLD - 9 * DAY, "before": NOW, "pruned_at": OLD}
            put(connection, "sync.prunings", **usual | earlier | {"bound": "another"})
        found = {
            at: pruning_of(connection, ACCOUNT, "plans", at)
            for at in (OLD - MOMENT, OLD, OLD + 10 * DAY - MOMENT, OLD + 10 * DAY, OLD + 20 * DAY)
        }
    assert [one and one.bound for one in found.values()] == [None, "first", "first", "second", None]
    first = found[OLD]
    assert str(first) == f"pruned at {NOW:%Y-%m-%d %H:%M:%S} UTC by first"


def test_of_a_record_the_versions_that_are_missing_are_told(warehouse: sa.Engine) -> None:
    usual = {"account": ACCOUNT, "table_name": "installs", "record_id": 7, "pruned_at": NOW, "bound": BOUND}
    with warehouse.begin() as connection:
        put(connection, "sync.pruned_versions", **usual, seen_at=[OLD + DAY, OLD, OLD + 2 * DAY])
        for other in ({"account": "other"}, {"table_name": "appointments"}, {"record_id": 8}):
            put(connection, "sync.pruned_versions", **usual | other, seen_at=[NOW])
        found = pruned_versions_of(connection, ACCOUNT, "installs", 7)
        assert pruned_versions_of(connection, ACCOUNT, "installs", 9) is None
    assert found == PrunedVersions((OLD, OLD + DAY, OLD + 2 * DAY), Pruning(NOW, BOUND))
    assert found is not None
    assert found.between(None, OLD + DAY) == (OLD, OLD + DAY)
    assert found.between(OLD, OLD + 2 * DAY) == (OLD + DAY, OLD + 2 * DAY)
    assert found.between(OLD - MOMENT, OLD) == (OLD,)
    assert found.between(OLD, OLD + DAY - MOMENT) == ()
