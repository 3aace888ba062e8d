"""What the tests of docs/crm.md share: a section's mapping, its SQL, and what a report finds beside spelling."""

from __future__ import annotations

import re
from pathlib import Path

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.writes.conftest import SHIPPED, Desk

PAGE = Path(__file__).parents[2] / "docs" / "crm.md"


def section(title: str) -> str:
    return PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]


def code(title: str, language: str) -> str:
    """Return the one block of code that a section of the page has in a language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", section(title), flags=re.S)
    return str(text)


def mapped(desk: Desk, mode: str, tables: str, *edits: tuple[str, str]) -> None:
    """Use these tables in the place of the shipped ones."""
    shipped = SHIPPED.read_text()
    desk.switched_on(mode, *edits, (shipped[shipped.index("\ntables:\n") + 1 :], tables))


def found(desk: Desk, report: ReconciliationReport) -> set[tuple[str, str, str | None]]:
    """Return table, key and field of each difference that is more than one of spelling."""
    rows = desk.sql(
        "select table_name, key, field from sync.differences where reconciliation_id = :id"
        " and cause <> 'equal_after_normalisation'",
        id=report.reconciliation_id,
    )
    return {(row["table_name"], str(next(iter(row["key"].values()))), row["field"]) for row in rows}


def run(desk: Desk, *statements: str) -> None:
    """Run statements as they stand: a colon in them begins no parameter."""
    for statement in statements:
        desk.sql(re.sub(r"(?<!\\):", r"\:", statement))


def approved(desk: Desk) -> None:
    """Let a person approve all that is planned, and apply it."""
    for plan in run_plan(desk.context):
        run_apply(desk.context, plan.plan_hash, approved_by="Pat")
