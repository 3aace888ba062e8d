"""What tables that contradict each other leave to a person: every decision beside every value of the other table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.contradictions import ask_where_tables_contradict, ask_where_tables_share_a_column
from enerflo_sync.plan.decide import MAKE_DECIDED
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import live_comparisons

MINE, THEIRS = datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 9, 9, tzinfo=UTC)
NO_ROW = "no row"
# All records of a case are of one install.
INSTALL = 1
Decided = Mapping[str, Any]


class Decisions:
    """Mapped tables and what is decided about them, put there one by one."""

    def __init__(self, connection: sa.Connection, folder: Path) -> None:
        self.connection, self._path = connection, folder / "sync.yaml"
        for table in ("milestones", "permits"):
            self.sql(
                f"create table crm.{table} (install bigint, milestone bigint, due timestamptz, start timestamptz,"
                " primary key (install, milestone))"
            )
        self.sql("create table crm.wide (install bigint primary key, permit timestamptz, pto timestamptz)")
        self.sql("create table crm.projects (id bigint primary key, record bigint, name text, other text)")
        connection.exec_driver_sql(MAKE_DECIDED)

    def sql(self, statement: str, **values: Any) -> list[Any]:
        result = self.connection.execute(sa.text(statement), values)
        return list(result.mappings()) if result.returns_rows else []

    def plans(self, *tables: str) -> list[Comparison]:
        head = "version: 1\naccounts: {default: {mode: both}}\ntables:\n"
        self._path.write_text(head + "\n".join(tables))
        return live_comparisons(self.connection, load_config(self._path, {}), "default", "", all_tables=True)

    def decide(self, number: int, decided: Decided) -> None:
        """Put a decision about the record of a number."""
        record = {"install_id": INSTALL, "milestone_id": number}
        key = {"id": number, "install": INSTALL, "milestone": number}
        row = {"key": json.dumps(key), "enerflo_key": json.dumps(record)} | decided
        self.sql(
            "insert into decided (table_name, field, op, outcome, key, enerflo_key, after, policy, cause, rule)"
            " values (:table, :field, :op, :outcome, cast(:key as jsonb), cast(:enerflo_key as jsonb),"
            " to_jsonb(cast(:after as timestamptz)), '-', '-', '-')",
            **row,
        )

    def put(self, table: str, *values: Any) -> None:
        places = ", ".join(f":v{n}" for n, _ in enumerate(values))
        self.sql(
            f"insert into crm.{table} values ({places})", **{f"v{n}": one for n, one in enumerate(values)}
        )

    def milestone(self, number: int, title: str | None, **other: Any) -> None:
        row = {"account": "default", "install_id": INSTALL, "deleted_at": None} | other
        self.sql(
            "insert into enerflo.milestones (account, install_id, milestone_id, title, deleted_at, observed_at,"
            " observed_by) values (:account, :install_id, :number, :title, :deleted_at, now(), 'poll')",
            **row,
            number=number,
            title=title,
        )

    def stand(self) -> Counter[tuple[Any, ...]]:
        """Return what is decided now: table, field, record, outcome, value, reason."""
        return Counter(
            tuple(row.values())
            for row in self.sql(
                "select table_name, field, (key ->> 'id')::int, outcome, (after #>> '{}')::timestamptz, reason"
                " from decided"
            )
        )


def stands(number: int, decided: Decided, reason: str | None = None) -> tuple[Any, ...]:
    """Return a decision as it is, or left to a person for a reason."""
    left = (decided["outcome"], decided["after"]) if reason is None else ("review", None)
    return (decided["table"], decided["field"], number, *left, reason)


@pytest.fixture
def decisions(warehouse: sa.Engine, tmp_path: Path) -> Iterator[Decisions]:
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        yield Decisions(connection, tmp_path)


def long_table(name: str, *options: str, **fields: str) -> str:
    lines = [
        f"crm_table: crm.{name}",
        "of: milestones",
        "key: {install: install_id, milestone: milestone_id}",
    ]
    every = [*lines, *options, "fields:", *(f"  {column}: {field}" for column, field in fields.items())]
    return "\n".join([f"  {name}:", *(f"    {line}" for line in every)])


def moment(column: str, policy: str = "review", **options: str) -> str:
    further = "".join(f", {name}: {value}" for name, value in options.items())
    return f"{{enerflo: {column}, type: timestamp, source_of_truth: {policy}{further}}}"


SENT = {"table": "milestones", "field": "due", "op": "update", "outcome": "to_enerflo", "after": MINE}
SENT_BY_OTHER = SENT | {"table": "permits"}
NOT_SENT: list[dict[str, Any]] = [
    *({"op": "insert"}, {"outcome": "to_crm"}, {"outcome": "keep"}, {"field": "start"}, {"table": "wide"}),
]
# What is decided of the other table's field.
BESIDE: list[tuple[dict[str, Any] | None, bool]] = [
    *((None, False), ({}, True), ({"outcome": "review"}, True), *((one, False) for one in NOT_SENT)),
    ({"enerflo_key": json.dumps({"install_id": INSTALL, "milestone_id": 0})}, False),
]


@pytest.mark.parametrize("policy", ["review", "crm"])
def test_a_value_that_another_table_contradicts_is_a_question(decisions: Decisions, policy: str) -> None:
    plans = decisions.plans(
        long_table("milestones", due=moment("due_at"), start=moment("started_at")),
        long_table("permits", due=moment("due_at", policy)),
    )
    wanted: Counter[tuple[Any, ...]] = Counter()
    cases = product((NO_ROW, MINE, THEIRS, None), [{}, *NOT_SENT, {"after": None}], BESIDE)
    for number, (said, other, (beside, sends)) in enumerate(cases, 1):
        if said != NO_ROW:
            decisions.put("permits", INSTALL, number, said)
        decided = SENT | other
        decisions.decide(number, decided)
        if beside is not None:
            decisions.decide(number, SENT_BY_OTHER | beside)
            wanted[stands(number, SENT_BY_OTHER | beside)] += 1
        is_sent = other in ({}, {"after": None})
        contradicts = said not in (NO_ROW, decided["after"])
        asked = is_sent and contradicts and (policy == "crm" or sends)
        reason = "the table permits says something else of the same record"
        wanted[stands(number, decided, reason if asked else None)] += 1
    ask_where_tables_contradict(decisions.connection, plans, {"account": "default"})
    assert decisions.stand() == wanted


# What else a table says of a field that another one sends to Enerflo, and whether both may send it.
SECOND = [
    ((), {"due": moment("due_at")}, {"due"}),
    ((), {"due": moment("started_at"), "start": moment("due_at")}, {"start"}),
    ((), {"due": moment("due_at", direction="to_enerflo")}, {"due"}),
    *(
        ((), {"due": moment("due_at", direction=direction), "start": moment("completed_at")}, set())
        for direction in ("to_crm", "none")
    ),
    *((("mode: " + mode,), {"due": moment("due_at")}, {"due"}) for mode in ("report", "enerflo", "both")),
    (("mode: crm",), {"due": moment("due_at")}, set()),
    (("create_only: true",), {"due": moment("due_at")}, set()),
]


@pytest.mark.parametrize(("options", "fields", "asked"), SECOND)
def test_which_fields_may_contradict_each_other(
    decisions: Decisions, options: tuple[str, ...], fields: dict[str, str], asked: set[str]
) -> None:
    plans = decisions.plans(
        long_table("milestones", due=moment("due_at")), long_table("permits", *options, **fields)
    )
    decisions.put("milestones", INSTALL, 1, MINE, MINE)
    decisions.put("permits", INSTALL, 1, THEIRS, THEIRS)
    decisions.decide(1, SENT)
    theirs = [SENT_BY_OTHER | {"field": field, "after": THEIRS} for field in fields]
    for one in theirs:
        decisions.decide(1, one)
    ask_where_tables_contradict(decisions.connection, plans, {"account": "default"})
    said = "the table {} says something else of the same record".format
    assert decisions.stand() == Counter(
        [
            stands(1, SENT, said("permits") if asked else None),
            *(stands(1, one, said("milestones") if one["field"] in asked else None) for one in theirs),
        ]
    )


WIDE = """  wide:
    of: milestones
    layout: wide
    crm_table: crm.wide
    key: {{install: install_id}}
    columns:
      permit: {{milestone: " Permitting", {field}}}
      pto: {{milestone: {pto}, {field}}}
"""
# The milestones of the install, each with the column that is about it.
MILESTONES = {1: ("permitting ", "permit"), 2: ("PTO", "pto"), 3: ("Roof", ""), 4: (None, "")}
GONE = 5


@pytest.mark.parametrize("pto", ["2", "PTO"])
@pytest.mark.parametrize("policy", ["review", "crm"])
@pytest.mark.parametrize("sends", ["to_enerflo", "keep"])
def test_a_column_of_a_wide_table_contradicts_what_is_said_of_its_milestone(
    decisions: Decisions, pto: str, policy: str, sends: str
) -> None:
    plans = decisions.plans(
        long_table("milestones", due=moment("due_at")),
        WIDE.format(pto=pto, field=moment("due_at", policy)[1:-1]),
    )
    for number, (title, _) in MILESTONES.items():
        decisions.milestone(number, title)
    # A milestone that is gone, and those of another install or account, have no column here.
    decisions.milestone(GONE, "Permitting", deleted_at=MINE)
    decisions.milestone(3, "Permitting", install_id=INSTALL + 1)
    decisions.milestone(3, "Permitting", account="other")
    decisions.put("wide", INSTALL, THEIRS, THEIRS)
    decisions.put("wide", INSTALL + 1, MINE, MINE)
    wanted = Counter[tuple[Any, ...]]()
    for number in (*MILESTONES, GONE):
        _, about = MILESTONES.get(number, ("", ""))
        contradicts = about != "" and (policy == "crm" or sends == "to_enerflo")
        of_table = "the table wide says something else of the same record"
        decisions.decide(number, SENT)
        wanted[stands(number, SENT, of_table if contradicts else None)] += 1
        for column in ("permit", "pto"):
            other = SENT | {"table": "wide", "field": column, "outcome": sends}
            decisions.decide(number, other)
            # A title and an id may be of one milestone; of two titles it is known that they are not.
            asked = contradicts and sends == "to_enerflo" and about != column and pto == "2"
            of_column = f"the column {about} says something else of the same field"
            wanted[stands(number, other, of_column if asked else None)] += 1
    ask_where_tables_contradict(decisions.connection, plans, {"account": "default"})
    assert decisions.stand() == wanted


PROJECTS = """  {name}:
    of: installs
    crm_table: crm.{table}
    key: [id]
    join: {{record: install_id}}
    {options}
    fields:
"""


def projects(name: str, field: str, column: str = "name", table: str = "projects", options: str = "") -> str:
    text = PROJECTS.format(name=name, table=table, options=options or "mode: both")
    return f"{text}      {column}: {field}"


def text(column: str, policy: str = "enerflo", **options: str) -> str:
    further = "".join(f", {name}: {value}" for name, value in options.items())
    return f"{{enerflo: {column}, type: text, source_of_truth: {policy}{further}}}"


WRITTEN = {"table": "installs", "field": "name", "op": "update", "outcome": "to_crm", "after": MINE}
NOT_WRITTEN: list[dict[str, Any]] = [
    *({"op": "insert"}, {"outcome": "to_enerflo"}, {"outcome": "keep"}, {"field": "other"}),
    {"table": "leads"},
]


def test_a_value_for_a_column_that_another_table_fills_is_a_question(decisions: Decisions) -> None:
    plans = decisions.plans(
        projects("installs", text("customer_name")),
        projects("sites", text("office_name"), options="where: other = 'site'"),
    )
    wanted = Counter[tuple[Any, ...]]()
    # The other table has the row, and knows its record.
    rows = {(1, "site"): True, (None, "site"): False, (1, "yard"): False, (1, None): False}
    for number, (row, other) in enumerate(product([*rows, None], [{}, *NOT_WRITTEN]), 1):
        if row is not None:
            decisions.put("projects", number, row[0] and number, "Ann", row[1])
        decided = WRITTEN | other
        decisions.decide(number, decided)
        asked = other == {} and row is not None and rows[row]
        reason = "the table sites maps its column to something else" if asked else None
        wanted[stands(number, decided, reason)] += 1
    ask_where_tables_share_a_column(decisions.connection, plans, {"account": "default"})
    assert decisions.stand() == wanted


@pytest.mark.parametrize(
    ("second", "field", "asked"),
    [
        (projects("sites", text("office_name")), "name", True),
        (projects("sites", text("customer_name")), "name", False),
        (projects("sites", text("customer_name", values="{Ann: A}")), "name", True),
        (projects("sites", text("office_name"), column="other"), "other", False),
        (projects("sites", text("office_name"), table="sites"), "name", False),
        *(
            (projects("sites", text("office_name", direction=direction)), "name", asked)
            for direction, asked in (("to_crm", True), ("none", False))
        ),
        *(
            (projects("sites", text("office_name"), options=f"mode: {mode}"), "name", asked)
            for mode, asked in (("report", True), ("crm", True), ("enerflo", False))
        ),
    ],
)
def test_which_tables_fill_a_column_with_different_things(
    decisions: Decisions, second: str, field: str, asked: bool
) -> None:
    decisions.sql("create table crm.sites (like crm.projects including all)")
    plans = decisions.plans(projects("installs", text("customer_name")), second)
    for table in ("projects", "sites"):
        decisions.put(table, 1, 1, "Ann", "Ann")
    other = WRITTEN | {"table": "sites", "field": field}
    for one in (WRITTEN, other):
        decisions.decide(1, one)
    ask_where_tables_share_a_column(decisions.connection, plans, {"account": "default"})
    said = "the table {} maps its column to something else".format
    assert decisions.stand() == Counter(
        [
            stands(1, WRITTEN, said("sites") if asked else None),
            stands(1, other, said("installs") if asked else None),
        ]
    )
