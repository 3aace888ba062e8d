"""What an incremental run stands on, how far it looks back, and when the rest of the rows still pair off."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.reconcile.counts import Sizes
from enerflo_sync.reconcile.incremental import LONGEST_RUN, find_basis, looking_back, pairs_off

UNTIL = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def run(
    warehouse: sa.Engine,
    started_at: datetime,
    finished_at: datetime | None,
    account: str = "default",
    name: str = "r1",
) -> None:
    with warehouse.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.runs (account, run_id, job, started_at, finished_at, state)"
                " values (:account, :name, 'poll', :started, :finished, 'failed')"
            ),
            {"account": account, "name": name, "started": started_at, "finished": finished_at},
        )


def back(warehouse: sa.Engine, minutes: int = 0) -> datetime:
    with warehouse.connect() as connection:
        return looking_back(connection, "default", UNTIL, minutes)


@pytest.mark.parametrize(
    ("started", "finished", "account", "since"),
    [
        *[(-HOUR, None, "default", -HOUR), (-HOUR, timedelta(0), "default", -HOUR)],
        *[(-HOUR, HOUR, "default", -HOUR), (-HOUR, -SECOND, "default", None)],
        *[(-HOUR, None, "other", None), (timedelta(0), None, "default", None), (HOUR, None, "default", None)],
        # A run that began so long ago without an end is taken for dead.
        *[
            (-LONGEST_RUN, None, "default", None),
            (SECOND - LONGEST_RUN, None, "default", SECOND - LONGEST_RUN),
        ],
    ],
)
def test_it_looks_back_to_the_beginning_of_a_job_that_was_writing(
    warehouse: sa.Engine, started: timedelta, finished: timedelta | None, account: str, since: Any
) -> None:
    run(warehouse, UNTIL + started, None if finished is None else UNTIL + finished, account)
    assert back(warehouse) == UNTIL + (since or timedelta(0))


def test_it_looks_back_to_the_earliest_of_them_and_by_the_lookback_besides(warehouse: sa.Engine) -> None:
    assert back(warehouse, 5) == UNTIL - timedelta(minutes=5)
    run(warehouse, UNTIL - HOUR, None)
    run(warehouse, UNTIL - 2 * HOUR, None, name="r2")
    assert back(warehouse, 5) == UNTIL - 2 * HOUR - timedelta(minutes=5)
    assert timedelta(hours=24) == LONGEST_RUN


def reconciled(warehouse: sa.Engine, name: str, **columns: Any) -> None:
    values = {
        **{"account": "default", "reconciliation_id": name, "scope": "full", "config_hash": "c"},
        **{"started_at": UNTIL, "finished_at": UNTIL, "compared_until": UNTIL, "differences": 0},
        "report": json.dumps({"live": "l"}),
        "summary": "{}",
        **columns,
    }
    with warehouse.begin() as connection:
        connection.execute(
            sa.text(
                f"insert into sync.reconciliations ({', '.join(values)})"
                f" values ({', '.join(f':{name}' for name in values)})"
            ),
            values,
        )


def differing(warehouse: sa.Engine, reconciliation: str, account: str = "default") -> None:
    with warehouse.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.differences (account, reconciliation_id, table_name, key, cause)"
                " values (:account, :name, 'installs', '{}', 'unexplained')"
            ),
            {"account": account, "name": reconciliation},
        )


def basis(warehouse: sa.Engine) -> tuple[str | None, str]:
    with warehouse.connect() as connection:
        found = find_basis(connection, "default", "now", config_hash="c", live="l", lookback_minutes=10)
    return found.previous.reconciliation_id if found.previous else None, found.reason


FIRST = (None, "Compared in full: this is the first reconciliation.")


@pytest.mark.parametrize(
    ("name", "columns"),
    [("now", {}), ("a", {"finished_at": None}), ("a", {"account": "other"})],
    ids=["itself", "one without an end", "one of another account"],
)
def test_it_does_not_stand_on(warehouse: sa.Engine, name: str, columns: dict[str, Any]) -> None:
    reconciled(warehouse, name, **columns)
    assert basis(warehouse) == FIRST


@pytest.mark.parametrize("column", ["compared_until", "started_at"])
def test_it_stands_on_the_newest(warehouse: sa.Engine, column: str) -> None:
    for name, earlier in (("a", HOUR), ("b", timedelta(0)), ("c", 2 * HOUR)):
        reconciled(warehouse, name, **{column: UNTIL - earlier})
    assert basis(warehouse) == ("b", "")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"config_hash": "d"}, "the mapping changed since the last reconciliation"),
        (
            {"report": json.dumps({"live": "m"})},
            "the CRM tables' columns changed since the last reconciliation",
        ),
        ({"report": "{}"}, "the CRM tables' columns changed since the last reconciliation"),
        ({"summary": None}, "the last reconciliation was made by an older version"),
        ({"differences": 2}, "the last reconciliation's differences are no longer stored"),
        ({"differences": 0}, "the last reconciliation's differences are no longer stored"),
    ],
)
def test_it_stands_on_nothing_where(warehouse: sa.Engine, columns: dict[str, Any], reason: str) -> None:
    reconciled(warehouse, "a", **{"differences": 1} | columns)
    differing(warehouse, "a")
    assert basis(warehouse) == (None, f"Compared in full: {reason}.")


def test_only_its_own_differences_are_counted(warehouse: sa.Engine) -> None:
    looks = {"installs": {"seen_until": UNTIL.isoformat(), "signature": "s", "from_xid": 7}}
    reconciled(warehouse, "a", differences=1, report=json.dumps({"live": "l", "looks": looks}))
    for name, account in (("a", "default"), ("b", "default"), ("a", "other"), ("b", "other")):
        differing(warehouse, name, account)
    with warehouse.connect() as connection:
        found = find_basis(connection, "default", "now", config_hash="c", live="l", lookback_minutes=10)
    assert found.previous is not None
    assert found.previous.since == UNTIL - timedelta(minutes=10)
    assert found.previous.looks["installs"].from_xid == 7


def test_the_rest_pairs_off_where_both_sides_have_as_many_rows_of_the_same_keys() -> None:
    # Of every number one more or less breaks the balance, and the same on the other side mends it.
    names = ("in_enerflo", "in_crm", "enerflo_keys", "crm_keys")
    gone = ("only_enerflo", "only_crm", "enerflo_keys", "crm_keys")
    for more in product((0, 1), repeat=12):
        sizes = Sizes(10 + more[0], 10 + more[1], Decimal(100 + more[2]), Decimal(100 + more[3]))
        mismatched = dict(zip(names, (1 + n for n in more[4:8]), strict=True))
        unmoved = dict(zip(gone, (2 + n for n in more[8:12]), strict=True))
        mine = (more[0] - more[4] - more[8], more[2] - more[6] - more[10])
        theirs = (more[1] - more[5] - more[9], more[3] - more[7] - more[11])
        assert pairs_off(sizes, mismatched, unmoved) is (mine == theirs)
