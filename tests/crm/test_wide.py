"""A wide table's mistakes: its layout, its columns, and milestones that are named twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.mapping import Layout, WideColumn
from enerflo_sync.crm.wide import names_milestone, same_milestone
from tests.crm.conftest import load, mistakes

SECOND = "  second: {tables: {permits: {columns: {due: null, done: {milestone: 7}}}}}\n"
TEXT = """version: 1
accounts:
  default: {}
tables:
  permits:
    of: milestones
    layout: wide
    crm_table: crm.sites
    key: {id: install_id}
    columns:
      done: {milestone: Permitting, enerflo: completed_at, type: date}
      due: {milestone: Permitting, enerflo: due_at, type: timestamp}
"""


def test_its_columns_are_compared_and_its_rows_are_not_made(tmp_path: Path) -> None:
    config = load(tmp_path, TEXT.replace("tables:\n", f"{SECOND}tables:\n", 1))
    found = config.tables_for("default")["permits"]
    assert (found.layout, found.create_in, list(found.fields)) == (Layout.WIDE, (), ["done", "due"])
    other = config.tables_for("second")["permits"]
    assert [(name, one.milestone) for name, one in other.columns.items()] == [("done", 7)]
    assert other.fields == other.columns
    renamed = load(
        tmp_path, TEXT.replace("{milestone: Permitting, enerflo: due", "{milestone: PTO, enerflo: due")
    )
    assert renamed.hash("default") != config.hash("default")


@pytest.mark.parametrize(
    ("old", "new", "line", "place", "found", "expected"),
    [
        (
            "due: {milestone: Permitting, enerflo: due_at, type: timestamp}",
            "due: {milestone: ' permitting', enerflo: completed_at, type: date}",
            12,
            "tables.permits.columns.due",
            "completed_at of milestone ' permitting' a second time",
            "one column for it: done has it already (line 11)",
        ),
        (
            "    of: milestones\n",
            "    of: notes\n",
            7,
            "tables.permits.layout",
            "wide in a table of notes",
            "wide only of milestones",
        ),
        ("wide", "long", 10, "tables.permits.columns", "columns in a table of layout long", "fields"),
        ("    columns:\n", "    fields: {x: {enerflo: due_at, type: date}}\n    columns:\n", 10,
         "tables.permits.fields", "fields in a table of layout wide", "columns"),
        ("enerflo: due_at", "enerflo: due_on", 12, "tables.permits.columns.due.enerflo", "the column due_on", "due_at"),
        ("enerflo: due_at, type: timestamp", "enerflo: milestone_id, type: integer", 12,
         "tables.permits.columns.due.enerflo", "the column milestone_id", "a column that the milestone itself has"),
        ("id: install_id", "id: milestone_id", 9, "tables.permits.key.id", "the column milestone_id", "enerflo.installs"),
        ("    columns:\n", "    create_in: [crm]\n    columns:\n", 10, "tables.permits.create_in",
         "create_in with layout wide", "none: rows"),
        ("milestone: Permitting, enerflo: due", "enerflo: due", 12, "tables.permits.columns.due.milestone",
         "nothing", "milestone (The milestone, by its title"),
        ("milestone: Permitting, enerflo: due", "milestone: '', enerflo: due", 12,
         "tables.permits.columns.due.milestone", "the text ''", ""),
        ("type: timestamp}", "type: timestamp, source_of_truth: newest}", 12,
         "tables.permits.columns.due.source_of_truth", "newest in a table without updated_at", "updated_at"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, place: str, found: str, expected: str
) -> None:
    assert old in TEXT
    (problem, *_) = mistakes(tmp_path, TEXT.replace(old, new))
    assert problem.startswith(f"{line}: {place}: found {found}")
    assert expected in problem.partition(", expected ")[2]


@pytest.mark.parametrize(("layout", "option"), [("long", "fields"), ("wide", "columns")])
def test_a_table_without_compared_columns_is_told_which_option_has_them(
    tmp_path: Path, layout: str, option: str
) -> None:
    head = TEXT.replace("wide", layout).partition("    columns:")[0]
    (problem, *_) = mistakes(tmp_path, head)
    assert f"tables.permits.{option}: found nothing, expected {option} (" in problem


def test_a_milestone_is_named_by_its_title_or_its_id() -> None:
    by_title = WideColumn(milestone=" PTO", enerflo="due_at", type="date")  # type: ignore[arg-type]
    by_id = WideColumn(milestone=7, enerflo="due_at", type="date")  # type: ignore[arg-type]
    assert same_milestone(by_title, by_title.model_copy(update={"milestone": "pto "})) is True
    assert same_milestone(by_title, by_title.model_copy(update={"milestone": "PTA"})) is False
    assert same_milestone(by_id, by_id.model_copy(update={"milestone": 8})) is False
    assert same_milestone(by_title, by_id) is None
    assert names_milestone("pto", 1, " PTO ")
    assert names_milestone(7, 7, None)
    assert not names_milestone("7", 7, "Seven")
