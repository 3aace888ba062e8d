"""A statement that judges rows is only sent where there are rows of its kind: planning it takes longest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from tests.writes.conftest import Desk

JUDGING = re.compile(
    r"/\* enerflo-sync (?P<of>plan|reconcile) (?P<table>\w+): (?P<what>differing fields with their causes"
    r"|rows that one side lacks, with their causes|fields of rows that both sides have|rows that the CRM lacks|rows that Enerflo lacks"
    r"|rows whose record Enerflo deleted|CRM rows that are a record of Enerflo without saying so) \*/"
)


AGREEING = re.compile(
    r"/\* enerflo-sync (?P<of>agree) (?P<table>\w+): (?P<what>pairs of values on which both sides agree"
    r"|times at which the sides were last seen|pairs of records whose rows have other keys"
    r"|keys that rows of the same records had before)"
)


@contextmanager
def judged(desk: Desk, statements: re.Pattern[str] = JUDGING) -> Iterator[list[tuple[str, str, str]]]:
    """Yield the statements that judge rows, as they are sent: of which job, which table, and what about."""
    sent: list[tuple[str, str, str]] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if found := statements.search(statement):
            sent.append((found["of"], found["table"], found["what"]))

    sa.event.listen(desk.engine, "before_cursor_execute", note)
    yield sent
    sa.event.remove(desk.engine, "before_cursor_execute", note)


@pytest.fixture
def alike(agreed: Desk) -> Desk:
    """An account whose two sides have the same rows: no lead waits in the CRM to be qualified."""
    agreed.sql("delete from crm.leads where enerflo_customer_id is null")
    return agreed


def test_where_nothing_differs_no_row_is_judged(alike: Desk) -> None:
    with judged(alike) as sent:
        plan = alike.plan()
    assert plan.change_count == 0
    assert sent == []


def test_values_are_agreed_on_of_tables_with_a_row_that_moved(alike: Desk) -> None:
    # What a poll read a moment ago counts as moved for that long.
    alike.switched_on("both", ("lookback_minutes: 15\n  shrink", "lookback_minutes: 0\n  shrink"))
    alike.plan()
    with judged(alike, AGREEING) as sent:
        alike.plan()
    assert sent == []
    alike.sql(EDITED, i=alike.a_site().install_id)
    with judged(alike, AGREEING) as sent:
        alike.plan()
    assert {table for _, table, _ in sent} == {"installs"}
    assert {what for _, _, what in sent} >= {"pairs of values on which both sides agree"}


EDITED = (
    "update crm.installs set panel_count = panel_count + 1, updated_at = now() where enerflo_install_id = :i"
)
LACKING = "delete from crm.milestones where enerflo_install_id = :i"
NOTE = (
    "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
    " values ('n1', :i, 'Ann', 'Call back', now())"
)


FIELDS, ROWS = "differing fields with their causes", "rows that one side lacks, with their causes"


@pytest.mark.parametrize(
    ("edit", "table", "differences", "what"),
    [
        (EDITED, "installs", FIELDS, "fields of rows that both sides have"),
        (LACKING, "milestones", ROWS, "rows that the CRM lacks"),
        (NOTE, "notes", ROWS, "rows that Enerflo lacks"),
    ],
)
def test_one_kind_of_rows_that_differ_takes_one_statement_of_each_job(
    alike: Desk, edit: str, table: str, differences: str, what: str
) -> None:
    alike.sql(edit, i=alike.a_site().install_id)
    with judged(alike) as sent:
        plan = alike.plan()
    assert {change.table_name for change in [*alike.changes(plan), *alike.undecided(plan)]} == {table}
    assert sent == [("reconcile", table, differences), ("plan", table, what)]


def test_rows_of_both_kinds_are_compared_with_each_other(alike: Desk) -> None:
    install = alike.a_site()
    alike.sql(NOTE, i=install.install_id)
    alike.sql(
        "delete from crm.notes where note_id = (select min(note_id) from crm.notes where note_id <> 'n1')"
    )
    with judged(alike) as sent:
        alike.plan()
    assert [what for of, table, what in sent if (of, table) == ("plan", "notes")] == [
        "CRM rows that are a record of Enerflo without saying so",
        "rows that the CRM lacks",
        "rows that Enerflo lacks",
    ]


def test_only_the_fields_that_differ_are_judged(alike: Desk) -> None:
    alike.sql(
        "update crm.installs set panel_count = panel_count + 1, updated_at = now() where enerflo_install_id = :i",
        i=alike.a_site().install_id,
    )
    judging: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if JUDGING.search(statement):
            judging.append(statement)

    sa.event.listen(alike.engine, "before_cursor_execute", note)
    alike.plan()
    sa.event.remove(alike.engine, "before_cursor_execute", note)
    assert [re.findall(r"union all\s+select '(\w+)'", statement) for statement in judging] == [
        ["panel_count"]
    ] * 2
