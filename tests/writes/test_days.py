"""Days: a CRM that keeps dates without a time, and an Enerflo that keeps moments, in every zone."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import zoneinfo
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.outbox.bodies import sent_time
from enerflo_sync.outbox.values import EnerfloValues
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from tests.writes.conftest import Desk

FIELD = "      due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: newest}\n"
TABLE = "    crm_table: crm.milestones\n"
# SQL type of the CRM's column, and the declared type.
KINDS = [
    *(("date", "timestamp"), ("date", "date"), ("text", "date"), ("text", "timestamp, precision: day")),
    *(("timestamp", "date"), ("timestamptz", "date")),
]
ZONES = [
    *("America/Chicago", "Pacific/Kiritimati", "Etc/GMT+12", "UTC", "Australia/Lord_Howe"),
    *("America/Havana", "Asia/Kathmandu"),
]
# An ordinary day, and days on which a clock is changed in Chicago, Lord Howe and Havana.
DAYS = ["2026-05-20", "2026-03-08", "2026-11-01", "2026-04-05", "2026-10-04"]


def by_days(desk: Desk, sql_type: str, declared: str, zone: str) -> None:
    """Let the CRM keep due dates as days of a zone, with both sides agreed."""
    shown = "to_char(due_at at time zone '{}', 'YYYY-MM-DD')" if sql_type == "text" else "due_at::{}"
    desk.sql(
        "alter table crm.milestones alter due_at type"
        f" {sql_type} using {shown.format(zone if sql_type == 'text' else sql_type)}"
    )
    days = FIELD.replace("timestamp, precision: second", declared)
    desk.switched_on("both", (FIELD, days), (TABLE, f"{TABLE}    time_zone: {zone}\n"))
    for _ in range(2):
        run_poll(desk.context)
        desk.carried()


def value_of(sql_type: str, day: str, zone: str) -> Any:
    return f"timestamptz '{day} 00:00 {zone}'" if sql_type == "timestamptz" else f"'{day}'::{sql_type}"


def in_crm(desk: Desk, row: Any, zone: str) -> str:
    """Return the day that the CRM has; a text of another length is a moment."""
    local = f"(due_at::timestamptz at time zone '{zone}')"
    day = {
        "timestamptz": local,
        "text": f"case when length(due_at::text) = 10 then due_at::text else {local}::text end",
    }.get(row["sql_type"], "due_at")
    return str(
        desk.one(
            f"select left(({day})::text, 10) from crm.milestones"
            " where enerflo_install_id = :i and milestone_id = :m",
            i=row["install_id"],
            m=row["milestone_id"],
        )
    )


def in_enerflo(desk: Desk, row: Any, zone: str) -> str:
    """Return the day that Enerflo's moment is in the zone."""
    (found,) = [
        one
        for one in desk.world.truth.milestones()
        if (one.install_id, one.milestone_id) == (row["install_id"], row["milestone_id"])
    ]
    return str(
        desk.one("select left((cast(:at as timestamptz) at time zone :z)::text, 10)", at=found.due_at, z=zone)
    )


def a_round(desk: Desk) -> int:
    run_poll(desk.context)
    plan = desk.plan()
    if plan.change_count:
        report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
        assert (report.moved, report.parked, report.waiting) == (0, 0, 0), report
    return plan.change_count


@pytest.mark.parametrize(
    ("sql_type", "declared", "zone"),
    [*((*kind, zone) for kind in KINDS for zone in ZONES[:2]), *((*KINDS[0], zone) for zone in ZONES[2:])],
)
def test_a_day_is_carried_both_ways_once_and_then_there_is_silence(
    desk: Desk, sql_type: str, declared: str, zone: str
) -> None:
    by_days(desk, sql_type, declared, zone)
    rows = desk.sql(
        "select install_id, milestone_id, cast(:t as text) as sql_type from enerflo.milestones"
        " where due_at is not null order by 1, 2 limit :n",
        t=sql_type,
        n=2 * len(DAYS),
    )
    asked = len(desk.world.received)
    for row, day in zip(rows, DAYS, strict=False):
        desk.sql(
            f"update crm.milestones set due_at = {value_of(sql_type, day, zone)}, updated_at = now()"
            " where enerflo_install_id = :i and milestone_id = :m",
            i=row["install_id"],
            m=row["milestone_id"],
        )
    assert a_round(desk) == len(DAYS)
    assert [in_enerflo(desk, row, zone) for row in rows[: len(DAYS)]] == DAYS
    assert len(desk.world.received) - asked == len(DAYS)
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    # The other way: the last moment of each day in the zone.
    for row, day in zip(rows[len(DAYS) :], DAYS, strict=True):
        last = "select (cast(:day as timestamp) + interval '23:59:59') at time zone :z"
        late = desk.one(last, day=day, z=zone)
        desk.world.set_milestone(row["install_id"], row["milestone_id"], {"due": late})
    assert a_round(desk) == len(DAYS)
    assert [in_crm(desk, row, zone) for row in rows[len(DAYS) :]] == DAYS
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    assert len(desk.world.received) - asked == len(DAYS)


@pytest.mark.parametrize("declared", ["date", "timestamp"])
def test_a_day_and_a_moment_of_it_are_the_same_in_every_zone(desk: Desk, declared: str) -> None:
    by_days(desk, "date", declared, "UTC")
    with desk.engine.connect() as connection:
        config = desk.context.config
        found = live_comparisons(connection, config, "default", case_folding(connection), all_tables=True)
        (of_utc,) = [one for one in found if one.kind == RecordKind.MILESTONES]
        zones = connection.execute(sa.text("select name from pg_timezone_names order by 1")).scalars().all()
        known = sorted({*zones} & zoneinfo.available_timezones())
        assert len(known) > 300

        @settings(max_examples=300, deadline=None)
        @given(
            zone=st.sampled_from(known), moment=st.datetimes(dt.datetime(2012, 1, 1), dt.datetime(2037, 1, 1))
        )
        def check(zone: str, moment: dt.datetime) -> None:
            mapping = of_utc.mapping.model_copy(update={"time_zone": zone})
            comparison = dataclasses.replace(of_utc, mapping=mapping)
            at = moment.replace(microsecond=0, tzinfo=dt.UTC)
            local = sa.text("select (cast(:at as timestamptz) at time zone :z)::date")
            day: dt.date = connection.execute(local, {"at": at, "z": zone}).scalar_one()
            same = functools.partial(EnerfloValues(connection).same, comparison, "due_at", at.isoformat())
            assert same(day.isoformat())
            assert not same((day + dt.timedelta(days=1)).isoformat())
            assert not same((day - dt.timedelta(days=1)).isoformat())
            # As the plan makes it: PostgreSQL takes CET for an abbreviation, Python for a zone.
            midnight = sa.text("select cast(cast(:day as date) as timestamp) at time zone :z")
            sent: dt.datetime = connection.execute(midnight, {"day": day, "z": zone}).scalar_one()
            values = EnerfloValues(connection)
            assert values.same(comparison, "due_at", sent_time(sent.isoformat(), zone), day.isoformat())

        check()
