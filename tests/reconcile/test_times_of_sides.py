"""What times of both sides tell of a row, beside what our own writes left: every case, computed by PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.decision import BLOCKING_RULES
from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile import changed
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import case_folding, live_comparisons

# Two tables of sync.yaml share one table of the CRM. A note has no time of change at Enerflo. In the last table,
# times are of no use.
CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: {id: install_id}
    updated_at: updated_at
    fields: {name: {enerflo: agent_name, type: text, source_of_truth: newest}}
  more:
    of: installs
    crm_table: crm.installs
    key: {id: install_id}
    updated_at: updated_at
    fields: {size: {enerflo: system_size_kw, type: number, source_of_truth: review}}
  milestones:
    crm_table: crm.milestones
    key: {id: install_id, part: milestone_id}
    updated_at: updated_at
    time_zone: America/Denver
    fields: {title: {enerflo: title, type: text, source_of_truth: newest}}
  leads:
    crm_table: crm.leads
    key: {id: customer_id}
    updated_at: updated_at
    fields: {city: {enerflo: city, type: text, source_of_truth: newest}}
  remarks:
    of: notes
    crm_table: crm.remarks
    key: {id: note_id}
    updated_at: updated_at
    fields: {body: {enerflo: body, type: text, source_of_truth: newest}}
  notes:
    crm_table: crm.notes
    key: {id: note_id}
    updated_at: updated_at
    fields: {body: {enerflo: body, type: text, source_of_truth: enerflo}}
"""
CRM = """
create schema crm;
create table crm.installs (id bigint primary key, name text, size numeric, updated_at timestamptz);
create table crm.milestones (id bigint, part bigint, title text, updated_at {times}, primary key (id, part));
create table crm.leads (id bigint primary key, city text, updated_at timestamptz);
create table crm.remarks (id bigint primary key, body text, updated_at timestamptz);
create table crm.notes (id bigint primary key, body text, updated_at timestamptz);
"""
PLAN = sa.text(
    "insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count, needs_approval, mode,"
    " config_hash)"
    " values (:account, :hash, :kind, :created_at, :created_at, 'open', 0, false, 'both', 'x')"
)
ASKED = sa.text(
    "insert into sync.plan_undecided (account, plan_hash, position, table_name, key, field, crm_value, cause, reason)"
    " values (:account, :hash, 1, :table, cast(:key as jsonb), :field, cast(:value as jsonb), 'policy', :reason)"
)
MILESTONE = sa.text(
    "insert into enerflo.milestones (account, install_id, milestone_id, observed_at, observed_by)"
    " values (:account, :install, :milestone, :at, :by)"
)
HOUR = timedelta(hours=1)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
# Of a time that no one knows, as the product writes it.
NEVER = datetime.min.replace(tzinfo=UTC)
TYPES = {datetime: "timestamptz", int: "bigint", str: "text", bool: "boolean", dict: "jsonb"}
TIMES = (None, NEVER, *(NOW - hours * HOUR for hours in (5, 4, 3)))


@pytest.fixture
def connection(warehouse: sa.Engine, request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    with warehouse.begin() as opened:
        opened.exec_driver_sql(CRM.format(times=getattr(request, "param", "timestamptz")))
        yield opened


@pytest.fixture
def tables(connection: sa.Connection, tmp_path: Path) -> Mapping[str, Comparison]:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    fold = case_folding(connection)
    found = live_comparisons(connection, load_config(path, {}), "default", fold, all_tables=True)
    return {comparison.name: comparison for comparison in found}


def constant(value: Any) -> str:
    if value is None:
        return "null::timestamptz"
    if value == NEVER:
        return "'-infinity'::timestamptz"
    text = json.dumps(value) if isinstance(value, dict) else value
    return f"'{text}'::{TYPES[type(value)]}"


def select(alias: str, columns: Mapping[str, Any]) -> str:
    return f"(select {', '.join(f'{constant(v)} as {k}' for k, v in columns.items())}) {alias}"


def time_of(connection: sa.Connection, expression: str, joins: str = "", **rows: Mapping[str, Any]) -> Any:
    """Return the time that an expression gives over one row of each alias."""
    return told(connection, f"nullif({expression}, '-infinity'), {expression} = '-infinity'", joins, rows)


def holds(connection: sa.Connection, condition: str, **rows: Mapping[str, Any]) -> Any:
    """Return whether a condition holds over one row of each alias."""
    return told(connection, f"{condition}, false", "", rows)


def told(
    connection: sa.Connection, expressions: str, joins: str, rows: Mapping[str, Mapping[str, Any]]
) -> Any:
    sources = " cross join ".join(select(alias, columns) for alias, columns in rows.items())
    named = {"account": "default", "now": NOW, "delay": 0 * HOUR}
    value, never = connection.exec_driver_sql(f"select {expressions} from {sources}{joins}", named).one()
    return NEVER if never else value


def left_behind(
    connection: sa.Connection, *, side: str, table: str, key: Mapping[str, int], **times: Any
) -> None:
    """Store what a write of ours left on a record."""
    values = {"account": "default", **times, "side": side, "table_name": table, "key": json.dumps(key)}
    places = {
        name: "cast(:key as jsonb)" if name == "key" else "'-infinity'" if value == NEVER else f":{name}"
        for name, value in values.items()
    }
    connection.execute(
        sa.text(f"insert into sync.own_writes ({', '.join(values)}) values ({', '.join(places.values())})"),
        values,
    )


def forgotten(connection: sa.Connection) -> None:
    connection.exec_driver_sql("delete from sync.own_writes")


def before(time: datetime | None, other: datetime | None) -> bool:
    """Return whether one time lies before another: of an unknown one, no."""
    return time is not None and other is not None and time < other


def least(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)


# The row's time less what our write left there, in hours; None where we wrote nothing.
@pytest.mark.parametrize("table", ["milestones", "leads"])
@pytest.mark.parametrize("less", [None, 0, 1])
def test_of_a_row_that_we_wrote_the_time_of_others_counts(
    connection: sa.Connection, tables: Mapping[str, Comparison], table: str, less: int | None
) -> None:
    comparison = tables[table]
    key = {"id": 7, "part": 2} if table == "milestones" else {"id": 7}
    joins = changed.own_writes(comparison)
    for says, others, over in product((NOW - 2 * HOUR, NOW + HOUR), TIMES, TIMES):
        forgotten(connection)
        left = {"left_at": says - (less or 0) * HOUR, "others_at": others, "over_at": over}
        strangers: list[dict[str, Any]] = [
            *(
                {name: other}
                for name, other in (("account", "other"), ("side", "enerflo"), ("table", "notes"))
            ),
            {"key": {**key, "id": 8}},
        ]
        for other in [*strangers, *([] if less is None else [{}])]:
            left_behind(connection, **{"side": "crm", "table": table, "key": key, **left, **other})
        row = {"in_crm": True, "k1": 7, "k2": 2, "j1": 7, "j2": 2, "owner": 7, "p1": 7, "changed_at": says}
        ours = less == 0
        told_of_others = time_of(connection, changed.left_by_others(comparison), joins, o=row)
        assert told_of_others == ((others or NEVER) if ours else says)
        told_of_over = time_of(connection, changed.written_over_at(comparison), joins, o=row)
        assert told_of_over == (over if ours and over != NEVER else None)
        changed_at = others if ours else says if says <= NOW else NEVER
        assert time_of(connection, changed.changed_in_crm(comparison), joins, o=row) == changed_at


def test_of_tables_that_share_a_crm_table_the_write_that_left_the_rows_time_counts(
    connection: sa.Connection, tables: Mapping[str, Comparison]
) -> None:
    says = NOW - 2 * HOUR
    row = {"in_crm": True, "k1": 7, "j1": 7, "p1": 7, "changed_at": says}
    # By table: what its write left less the row's time, in hours, and the time of others.
    of_one = [None, *product((0, 1), (None, *TIMES[2:]))]
    for name, mine, theirs in product(("installs", "more"), of_one, of_one):
        forgotten(connection)
        fitting = []
        for table, write in (("installs", mine), ("more", theirs)):
            if write is not None:
                left = {"left_at": says - write[0] * HOUR, "others_at": write[1]}
                left_behind(connection, side="crm", table=table, key={"id": 7}, **left)
                fitting += [write[1]] if write[0] == 0 else []
        # A stranger's time is earlier than all of these: where it counted, it would be chosen.
        for stranger in ({"account": "other"}, {"side": "enerflo"}, {"table": "notes"}, {"key": {"id": 8}}):
            of_stranger = {"side": "crm", "table": "installs", "key": {"id": 7}, **stranger}
            left_behind(connection, **of_stranger, left_at=says, others_at=NOW - 9 * HOUR)
        # Nobody else changed a row that we made.
        others = says if not fitting else NEVER if None in fitting else min(filter(None, fitting))
        comparison = tables[name]
        joins = changed.own_writes(comparison)
        assert time_of(connection, changed.left_by_others(comparison), joins, o=row) == others


@pytest.mark.parametrize(
    ("table", "mirror", "record"),
    [
        ("installs", "installs", "install_id"),
        ("milestones", "installs", "install_id"),
        ("leads", "customers", "customer_id"),
    ],
)
def test_of_a_record_that_we_wrote_the_time_of_others_counts(
    connection: sa.Connection, tables: Mapping[str, Comparison], table: str, mirror: str, record: str
) -> None:
    comparison = tables[table]
    joins = changed.own_writes(comparison)
    for account in ("default", "other"):
        connection.execute(
            sa.text(
                f"insert into enerflo.{mirror} (account, {record}, updated_at, observed_at, observed_by)"
                " values (:account, 7, :at, :at, 'poll')"
            ),
            {"account": account, "at": NOW - 9 * HOUR},
        )
    digest_now = f"select {changed.record_digest(mirror)} from enerflo.{mirror} e where account = 'default'"
    without_milestone = connection.exec_driver_sql(digest_now).scalar_one()
    milestone = {"account": "default", "install": 7, "milestone": 2, "at": NOW, "by": "poll"}
    connection.execute(MILESTONE, milestone)
    digest = connection.exec_driver_sql(digest_now).scalar_one()
    assert (digest != without_milestone) is (mirror == "installs")
    # What others' milestones say changes nothing of it.
    for other in ({"account": "other"}, {"install": 8}):
        connection.execute(MILESTONE, {**milestone, **other})
    since, until = changed.maybe_ours(comparison)
    own = NOW - 4 * HOUR
    # What our write left: that time, when it was seen, in which content, and when others had changed it.
    writes = product((None, own, own - HOUR), (-1, 0, 1), ("other", digest), (None, NOW - 6 * HOUR))
    sent = (None, NOW - 5 * HOUR)
    for says, observed, write, sent_at, over in product(
        (None, own), (NOW - HOUR, NOW - 8 * HOUR), writes, sent, (None, NOW - 3 * HOUR)
    ):
        forgotten(connection)
        left_at, seen, content, others = write
        left = {"left_at": left_at, "left_seen_at": observed + seen * HOUR, "left_digest": content}
        of_write = {"side": "enerflo", "table": mirror, "key": {record: 7}, "others_at": others, **left}
        left_behind(connection, **of_write, sent_others_at=sent_at, over_at=over)
        for stranger in ({"account": "other"}, {"side": "crm"}, {"table": "notes"}, {"key": {record: 8}}):
            left_behind(connection, **{**of_write, "sent_others_at": NOW, **stranger})
        row = {"in_crm": True, "k1": 7, "k2": 2, "p1": 7, "owner": 7, "j1": 7, "j2": 2, "changed_at": NOW}
        row |= {"observed_at": observed, "own_time": own - 9 * HOUR if table == "milestones" else says}
        install = {"install_updated_at": says}
        of_time = says is not None and left_at == says
        ours = of_time and (seen >= 0 or content == digest)
        rows = {"o": row, "i": install}
        time = time_of(connection, changed.changed_in_enerflo(comparison), joins, **rows)
        assert time == least((others or NEVER) if ours else says, observed)
        of_ours = (others or NEVER) if of_time else None
        assert time_of(connection, since, joins, **rows) == (sent_at or of_ours)
        latest = max(filter(None, (says, over)), default=None) if sent_at else over if of_time else None
        assert time_of(connection, until, joins, **rows) == latest


@pytest.mark.parametrize("table", ["installs", "milestones", "leads"])
def test_a_row_whose_time_does_not_tell_is_unsure(
    connection: sa.Connection, tables: Mapping[str, Comparison], table: str
) -> None:
    condition = changed.is_time_unsure(tables[table], "o.changed_in_enerflo")
    moments = (None, NOW - 4 * HOUR, NOW - 3 * HOUR)
    for says, counted, since, until, seen in product(
        (None, NEVER, NOW), TIMES, (NEVER, *moments), moments, moments
    ):
        row = {"changed_at": says, "changed_in_crm": counted, "left_by_others": says, "owner": 7, "p2": 2}
        row |= {"maybe_ours_since": since, "maybe_ours_until": until, "changed_in_enerflo": NOW}
        field = {"seen_at": seen, "milestone": 2}
        between = before(since, counted) and not before(until, counted) and not before(seen, counted)
        between = between and until is not None and seen is not None
        unknown = says in (None, NEVER) or counted == NEVER
        assert holds(connection, condition, o={**row, "install_observed_at": NOW}, f=field) is (
            unknown or between
        ), (says, counted, since, until, seen)


def test_a_milestone_that_a_webhook_brought_alone_may_have_changed_until_it_came(
    connection: sa.Connection, tables: Mapping[str, Comparison]
) -> None:
    at, install_at = NOW - 2 * HOUR, NOW - 5 * HOUR
    webhook = {"account": "default", "install": 7, "milestone": 2, "at": at, "by": "webhook"}
    brought: list[dict[str, Any]] = [
        {},
        {"by": "poll"},
        {"at": install_at},
        {"at": install_at - HOUR},
        *({name: other} for name, other in (("account", "other"), ("install", 8), ("milestone", 3))),
    ]
    condition = changed.is_time_unsure(tables["milestones"], "o.changed_in_enerflo")
    moments = (NOW - 4 * HOUR, NOW - 3 * HOUR, NOW - 2 * HOUR)
    for differing, counted, enerflo, seen in product(brought, moments, moments, moments):
        connection.exec_driver_sql("delete from enerflo.milestones")
        connection.execute(MILESTONE, {**webhook, **differing})
        row = {"changed_at": NOW, "changed_in_crm": counted, "left_by_others": NOW, "owner": 7, "p2": 2}
        row |= {"maybe_ours_since": None, "maybe_ours_until": None, "changed_in_enerflo": enerflo}
        row |= {"install_observed_at": install_at}
        unsure = holds(connection, condition, o=row, f={"seen_at": seen, "milestone": 9})
        assert unsure is (not differing and enerflo < counted <= seen), (differing, counted, enerflo, seen)


@pytest.mark.parametrize("connection", ["date"], indirect=True)
def test_a_day_does_not_tell_the_hour(connection: sa.Connection, tables: Mapping[str, Comparison]) -> None:
    condition = changed.unsure_time(tables["milestones"], "o.changed_in_enerflo")
    # In Denver, clocks went forward on 8 March: that day had 23 hours.
    day = datetime(2026, 3, 8, 7, tzinfo=UTC)
    for minutes, unsure in ((-1, False), (0, True), (23 * 60 - 1, True), (23 * 60, False)):
        row = {"changed_at": day, "changed_in_crm": day}
        row["changed_in_enerflo"] = day + timedelta(minutes=minutes)
        assert holds(connection, condition, o=row) is unsure, minutes


@pytest.mark.parametrize("connection", ["timestamp"], indirect=True)
def test_a_time_without_a_zone_occurs_twice_when_clocks_go_back(
    connection: sa.Connection, tables: Mapping[str, Comparison]
) -> None:
    condition = changed.unsure_time(tables["milestones"], "o.changed_in_enerflo")
    # In Denver, 1:30 occurs at 7:30 and at 8:30 UTC on 1 November.
    second = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    cases = [(second, -61, False), (second, -60, True), (second, -1, True), (second, 0, False)]
    cases += [(second + HOUR, minutes, False) for minutes in (-60, -30, -1)]
    for says, minutes, unsure in cases:
        row = {"changed_at": says, "changed_in_crm": says}
        row["changed_in_enerflo"] = says + timedelta(minutes=minutes)
        assert holds(connection, condition, o=row) is unsure, (says, minutes)


def test_a_time_no_later_than_the_pairs_says_nothing_of_an_edit(
    connection: sa.Connection, tables: Mapping[str, Comparison]
) -> None:
    times = (None, NOW - 4 * HOUR, NOW - 3 * HOUR)
    left = changed.left_its_time(tables["installs"])
    in_crm, in_enerflo = changed.is_older(tables["installs"])
    field = {"field": "name", "theirs": {"status": "A"}}
    for others, then, says, over, record, record_then in product(times, times, (*times, NEVER), *[times] * 3):
        row = {"left_by_others": others, "changed_at": says, "written_over_at": over, "record_time": record}
        rows = {
            "o": {**row, "key": {"id": 7}},
            "a": {"crm_time": then, "enerflo_time": record_then},
            "f": field,
        }
        stayed = others is not None and then is not None and others <= then
        record_stayed = record is not None and record_then is not None and record <= record_then
        assert holds(connection, left, **rows) is (stayed or record_stayed)
        assert holds(connection, in_enerflo, **rows) is before(record, record_then)
        of_row = says != NEVER and before(says, then)
        below = before(over, then) and before(then, says)
        assert holds(connection, in_crm, **rows) is (of_row or below), (others, then, says, over)


@pytest.mark.parametrize(
    "differing",
    [
        {},
        {"account": "other"},
        {"kind": "undo"},
        {"table": "notes"},
        {"key": {"id": 8}},
        {"field": "size"},
        {"value": {"status": "B"}},
        {"reason": "another"},
        {"created_at": NOW - 2 * HOUR},
    ],
)
def test_a_question_about_an_older_row_stands_after_our_own_write_of_it(
    connection: sa.Connection, tables: Mapping[str, Comparison], differing: Mapping[str, Any]
) -> None:
    rule = next(rule for rule in BLOCKING_RULES if rule.name == "older_row")
    asked = {"account": "default", "kind": "sync", "table": "more", "key": {"id": 7}, "field": "name"}
    asked |= {"value": {"status": "A"}, "reason": rule.words, "created_at": NOW, **differing}
    last = {**asked, "account": "default", "kind": "sync", "created_at": NOW - HOUR}
    for name, plan in (("last", last), ("asked", asked)):
        connection.execute(PLAN, {**plan, "hash": name})
    question = {**asked, "key": json.dumps(asked["key"]), "value": json.dumps(asked["value"])}
    connection.execute(ASKED, {**question, "hash": "asked"})
    in_crm, _ = changed.is_older(tables["installs"])
    row = {"changed_at": NOW, "written_over_at": None, "key": {"id": 7}}
    pair, field = {"crm_time": NOW - HOUR}, {"field": "name", "theirs": {"status": "A"}}
    for others, ours in ((NOW, False), (NOW - HOUR, True)):
        stands = holds(connection, in_crm, o={**row, "left_by_others": others}, a=pair, f=field)
        assert stands is (ours and not differing)


def test_where_no_field_goes_by_time_none_is_read(tables: Mapping[str, Comparison]) -> None:
    assert {name for name in tables if changed.keeps_times(tables[name])} == set(tables) - {"notes"}
    assert {name for name in tables if changed.needs_own_times(tables[name])} == set(tables) - {"notes"}
    notes, more = tables["notes"], tables["more"]
    assert changed.own_writes(notes) == ""
    assert changed.left_by_others(notes) == changed.written_over_at(notes) == "null::timestamptz"
    assert changed.is_older(notes) == ("false", "false")
    assert changed.left_its_time(notes) == changed.left_its_time(more) == "false"
    assert changed.is_time_unsure(more, "x") == "false"
    assert changed.changed_in_enerflo(tables["remarks"]) == changed.changed_in_enerflo(more) == "o.said_at"
    for table in ("remarks", "notes"):
        assert changed.record_time(tables[table], "own", "of_install") == "null::timestamptz"
    assert changed.maybe_ours(tables["remarks"]) == changed.maybe_ours(more) == ("null::timestamptz",) * 2
