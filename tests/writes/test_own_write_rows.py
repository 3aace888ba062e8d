"""What our own writes leave of each row's time: of the rows that were written, and of no stranger's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed.own_writes import (
    note_made,
    note_sending,
    note_unsent,
    note_written,
    noting_rows,
    noting_updates,
)
from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from tests.writes.milestones import milestones_mapped

CONFIG = milestones_mapped("title: {enerflo: title, type: text, source_of_truth: newest}")
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
AFTER = BEFORE + timedelta(hours=1)
EARLIER = BEFORE - timedelta(days=1)
PLAN = {"account": "default", "plan_hash": "a-plan"}
# The part of the plan that is written: the changes from one position to another.
PART = (100, 199)
# A change of that part, and what makes one a stranger to it.
OURS = {
    **{"account": "default", "plan_hash": "a-plan", "table_name": "milestones", "op": "update"},
    **{"direction": "to_crm", "state": "applied", "done_at": AFTER},
}
STRANGERS: list[dict[str, Any]] = [
    {"account": "other"},
    {"plan_hash": "another-plan"},
    {"table_name": "notes"},
    {"op": "delete"},
    {"direction": "to_enerflo"},
    {"position": 99},
    {"position": 200},
]


def key_of(number: int) -> dict[str, int]:
    return {"enerflo_install_id": 1, "milestone_id": number}


@pytest.fixture
def connection(warehouse: sa.Engine) -> Iterator[sa.Connection]:
    with warehouse.begin() as opened:
        opened.exec_driver_sql("create schema crm")
        opened.exec_driver_sql(
            "create table crm.milestones (enerflo_install_id bigint, milestone_id bigint, title text,"
            " updated_at timestamptz, primary key (enerflo_install_id, milestone_id))"
        )
        opened.execute(
            sa.text("insert into crm.milestones select 1, n, 'A', :at from generate_series(1, 20) n"),
            {"at": BEFORE},
        )
        yield opened


@pytest.fixture
def table(connection: sa.Connection, tmp_path: Path) -> Comparison:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    fold = case_folding(connection)
    (found,) = live_comparisons(connection, load_config(path, {}), "default", fold, all_tables=True)
    return found


def planned(connection: sa.Connection, number: int, **differing: Any) -> None:
    values = {
        "key": json.dumps(key_of(number)),
        "position": PART[0] + number,
        **OURS,
        **differing,
    }
    connection.execute(
        sa.text(
            "insert into sync.plan_changes (account, plan_hash, position, table_name, key, op, direction, state,"
            " done_at, policy, cause, rule) values (:account, :plan_hash, :position, :table_name,"
            " cast(:key as jsonb), :op, :direction, :state, :done_at, 'newest', 'edited', 'later_time')"
        ),
        values,
    )


def left(connection: sa.Connection) -> dict[tuple[str, str, str, int], tuple[Any, Any]]:
    rows = connection.execute(
        sa.text(
            "select account, side, table_name, coalesce(key ->> 'milestone_id', key ->> 'install_id')::int,"
            " left_at, others_at from sync.own_writes"
        )
    )
    return {tuple(row[:4]): (row[4], row[5]) for row in rows}  # type: ignore[misc]


def remembered(connection: sa.Connection, number: int, **differing: Any) -> None:
    """Store what an earlier write left: the row's time now, and when somebody else had changed it last."""
    values = {"account": "default", "side": "crm", "table_name": "milestones", "key": key_of(number)}
    connection.execute(
        sa.text(
            "insert into sync.own_writes (account, side, table_name, key, left_at, others_at)"
            " values (:account, :side, :table_name, cast(:key as jsonb), :left_at, :others_at)"
        ),
        {
            **values,
            "left_at": BEFORE,
            "others_at": EARLIER,
            **differing,
            "key": json.dumps(differing.get("key", values["key"])),
        },
    )


def touch_all(connection: sa.Connection) -> None:
    connection.execute(sa.text("update crm.milestones set updated_at = :at"), {"at": AFTER})


def test_of_a_plan_only_the_rows_of_the_part_that_is_written_are_noted(
    connection: sa.Connection, table: Comparison
) -> None:
    # At its edge.
    planned(connection, 1, position=PART[0])
    planned(connection, 10, position=PART[1])
    for number, differing in enumerate(STRANGERS, 2):
        planned(connection, number, **differing)
    with noting_updates(connection, table, PLAN, *PART):
        touch_all(connection)
    assert left(connection) == {
        ("default", "crm", "milestones", number): (AFTER, BEFORE) for number in (1, 10)
    }


def test_a_row_whose_time_stays_was_not_written(connection: sa.Connection, table: Comparison) -> None:
    planned(connection, 1)
    with noting_updates(connection, table, PLAN, *PART):
        pass
    assert left(connection) == {}


def test_after_our_own_write_the_last_that_was_somebody_elses_still_counts(
    connection: sa.Connection, table: Comparison
) -> None:
    planned(connection, 1)
    remembered(connection, 1)
    strangers: list[dict[str, Any]] = [
        {"account": "other"},
        {"side": "enerflo"},
        {"table_name": "notes"},
        {"key": key_of(9)},
    ]
    planned(connection, 2)
    for differing in strangers:
        remembered(connection, 2, **differing)
    planned(connection, 3)
    remembered(connection, 3, left_at=EARLIER, others_at=EARLIER - timedelta(days=1))
    with noting_updates(connection, table, PLAN, *PART):
        touch_all(connection)
    found = left(connection)
    assert found["default", "crm", "milestones", 1] == (AFTER, EARLIER)
    # What is remembered of others, or of a time that is not the row's any more, says nothing.
    assert found["default", "crm", "milestones", 2] == (AFTER, BEFORE)
    assert found["default", "crm", "milestones", 3] == (AFTER, BEFORE)
    assert found["other", "crm", "milestones", 2] == (BEFORE, EARLIER)
    assert found["default", "crm", "milestones", 9] == (BEFORE, EARLIER)


@pytest.mark.parametrize("before", [None, BEFORE])
def test_one_row_is_noted_like_many(
    connection: sa.Connection, table: Comparison, before: datetime | None
) -> None:
    connection.execute(sa.text("update crm.milestones set updated_at = :at"), {"at": before})
    with noting_rows(connection, table, "default", [json.dumps(key_of(1))]):
        touch_all(connection)
    assert left(connection) == {("default", "crm", "milestones", 1): (AFTER, before)}


def test_where_no_field_goes_by_time_nothing_is_noted(connection: sa.Connection, tmp_path: Path) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG.replace("source_of_truth: newest", "source_of_truth: enerflo"))
    (plan,) = live_comparisons(connection, load_config(path, {}), "default", "", all_tables=True)
    planned(connection, 1)
    with (
        noting_rows(connection, plan, "default", [json.dumps(key_of(1))]),
        noting_updates(connection, plan, PLAN, *PART),
    ):
        touch_all(connection)
    assert left(connection) == {}


def test_of_rows_that_a_plan_made_nobody_else_has_changed_any(
    connection: sa.Connection, table: Comparison
) -> None:
    planned(connection, 1, op="insert", position=PART[0])
    planned(connection, 15, op="insert", position=PART[1])
    strangers = [one for one in STRANGERS if "op" not in one]
    strangers += [{"op": "update"}, {"state": "moved"}, {"done_at": BEFORE}]
    for number, differing in enumerate(strangers, 2):
        planned(connection, number, **{"op": "insert", **differing})
    remembered(connection, 1)
    note_made(connection, table, {**PLAN, "now": AFTER}, *PART)
    assert left(connection) == {
        ("default", "crm", "milestones", number): (BEFORE, None) for number in (1, 15)
    }


def installs(connection: sa.Connection, at: datetime) -> None:
    connection.execute(sa.text("delete from enerflo.installs"))
    connection.execute(
        sa.text(
            "insert into enerflo.installs (account, install_id, updated_at, observed_at, observed_by)"
            " select a, n, case a when 'other' then :others else :at end, :at, 'poll'"
            " from unnest(array['default', 'other']) a, generate_series(1, 3) n"
        ),
        {"at": at, "others": at + timedelta(days=9)},
    )


def sent(connection: sa.Connection, number: int) -> Any:
    return connection.scalar(
        sa.text(
            "select sent_others_at from sync.own_writes where account = 'default' and side = 'enerflo'"
            " and (key ->> 'install_id')::int = :n"
        ),
        {"n": number},
    )


def over(connection: sa.Connection, number: int) -> Any:
    return connection.scalar(
        sa.text(
            "select over_at from sync.own_writes where account = 'default' and side = 'enerflo'"
            " and (key ->> 'install_id')::int = :n"
        ),
        {"n": number},
    )


# A milestone has its install's time. Notes have none, and a record that is to be made no id.
SENT = [
    ("milestones", {"install_id": 1, "milestone_id": 4}),
    ("installs", {"install_id": 2}),
    ("installs", {"install_id": None}),
    ("notes", {"note_id": 3, "install_id": 3}),
]


def test_a_request_remembers_when_somebody_else_had_changed_the_record(connection: sa.Connection) -> None:
    installs(connection, BEFORE)
    # An earlier write of ours left the second record's time as it is.
    remembered(connection, 2, side="enerflo", table_name="installs", key={"install_id": 2})
    note_sending(connection, "default", SENT)
    assert (sent(connection, 1), sent(connection, 2)) == (BEFORE, EARLIER)
    assert {name[:1] + name[3:] for name in left(connection)} == {("default", 1), ("default", 2)}

    # The same request again, or another one: what it finds now may come from the first.
    installs(connection, AFTER)
    for _ in range(2):
        note_sending(connection, "default", SENT)
        assert (sent(connection, 1), sent(connection, 2)) == (BEFORE, EARLIER)
        assert (over(connection, 1), over(connection, 2)) == (AFTER, AFTER)
    # That the second one had no effect says nothing of the first.
    note_unsent(connection, "default", SENT)
    assert (sent(connection, 1), sent(connection, 2)) == (BEFORE, EARLIER)
    note_written(connection, "default", SENT)
    assert (sent(connection, 1), over(connection, 1)) == (None, AFTER)


def test_a_request_that_had_no_effect_leaves_nothing_to_remember(connection: sa.Connection) -> None:
    installs(connection, BEFORE)
    note_sending(connection, "default", SENT)
    installs(connection, AFTER)
    note_unsent(connection, "default", SENT)
    assert (sent(connection, 1), over(connection, 1)) == (None, None)
    note_sending(connection, "default", SENT)
    assert (sent(connection, 1), over(connection, 1)) == (AFTER, None)


def test_a_record_that_was_read_back_has_the_time_that_our_write_left(connection: sa.Connection) -> None:
    installs(connection, BEFORE)
    note_sending(connection, "default", SENT)
    installs(connection, AFTER)
    note_written(connection, "default", SENT)
    times = {name[3]: value for name, value in left(connection).items()}
    assert times == {1: (AFTER, BEFORE), 2: (AFTER, BEFORE)}
    assert (sent(connection, 1), sent(connection, 2)) == (None, None)
    # Without a request of ours, what is known of others stays.
    later = AFTER + timedelta(hours=1)
    installs(connection, later)
    note_written(connection, "default", SENT)
    times = {name[3]: value for name, value in left(connection).items()}
    assert times == {1: (later, BEFORE), 2: (later, BEFORE)}
