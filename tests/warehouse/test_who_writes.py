"""Which rooms write which tables: a table that another room begins to write is a decision, and stands here."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from enerflo_sync.warehouse.schema import metadata

ENGINE = Path(__file__).parents[2] / "include" / "enerflo_sync"
TABLES = {table.fullname for table in metadata.tables.values()}
# The tables of each room. Those of the mirror that are missing here are written by one statement for all tables
# (enerflo_sync.warehouse.bulk), which names none.
OF_ROOMS = {
    "mirror": "enerflo.installs sync.companies_seen sync.witnesses sync.quarantine",
    "inbox": "enerflo.submissions sync.webhook_events sync.webhook_moves",
    "warehouse": "sync.runs sync.watermarks sync.api_calls sync.request_budgets sync.request_slots"
    " sync.declared_columns",
    "backfill": "sync.backfills sync.backfill_chunks sync.backfill_pages",
    "reconcile": "sync.reconciliations sync.differences sync.crm_rows sync.crm_looks",
    "agreed": "sync.agreed sync.agreed_twins sync.agreed_keys sync.own_writes sync.ledger sync.ledger_seals"
    " sync.crm_changes",
    "copies": "sync.crm_copies",
    "plan": "sync.plans sync.plan_changes sync.plan_undecided sync.refusals sync.retries",
    "explain": "sync.reveals",
    "quality": "sync.change_order_facts sync.quality_results sync.quality_runs sync.life_cycle_installs"
    " sync.life_cycle_findings sync.life_cycle_runs",
    "retention": "sync.prunings sync.pruned_versions sync.forgotten",
    "notify": "sync.notifications sync.told",
}
# Who writes a table of another room, and why.
BESIDE = {
    ("inbox", "sync.quarantine"): "events and files that cannot be used, and what a person does about items",
    ("inbox", "sync.reveals"): "who had a payload in quarantine shown unmasked",
    ("inbox", "sync.forgotten"): "the uuid of a person who was forgotten, which only an answer tells",
    ("mirror", "sync.forgotten"): "who was forgotten under a former name of an account",
    ("quality", "sync.quarantine"): "change orders that a check holds back",
    ("quality", "sync.ledger"): "orders that were held back, and let through by a person",
    (
        "agreed",
        "sync.plan_changes",
    ): "what became of each change that was applied, with its row of the ledger",
    ("agreed", "sync.refusals"): "the column of what a person refused, where it has another name by now",
    (
        "agreed",
        "sync.plan_undecided",
    ): "the column of what the last plan asked, where it has another name by now",
    (
        "outbox",
        "sync.plan_changes",
    ): "which requests were sent and accepted, before anybody knows what came of them",
    ("outbox", "sync.agreed"): "how Enerflo spells what went along with a lead's change",
    ("apply", "sync.plans"): "that a plan was applied, or waits again: for its rest, or for a person",
    ("plan", "sync.ledger"): "changes that ended unmade: refused, superseded, held back",
    ("rebuild", "enerflo.submissions"): "derives the mirror again from what is stored",
    **dict.fromkeys(
        (
            ("retention", name)
            for name in (
                *("sync.differences", "sync.reconciliations", "sync.plans", "sync.plan_changes"),
                *("sync.plan_undecided", "sync.crm_changes", "sync.refusals", "sync.webhook_events"),
                *("sync.runs", "sync.quality_runs", "sync.quality_results", "sync.life_cycle_runs"),
                *("sync.life_cycle_findings", "sync.backfills", "sync.backfill_chunks", "sync.api_calls"),
                *("sync.notifications", "sync.crm_looks", "sync.crm_rows"),
            )
        ),
        "deletes by age what nothing needs",
    ),
    **dict.fromkeys(
        (("retention", name) for name in ("sync.agreed", "sync.ledger", "sync.quarantine")),
        "erases the values of a person who is forgotten",
    ),
}
_WRITES = re.compile(
    r"\b(?:insert\s+into|update|delete\s+from|truncate(?:\s+table)?|copy|merge\s+into)\s+(?:only\s+)?"
    r"((?:enerflo|sync)\.\w+)",
    re.IGNORECASE,
)
_CALLS = {"insert", "update", "delete", "append", "merge", "send_new", "upsert"}


def rooms_that_write() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(ENGINE.rglob("*.py")):
        room = path.relative_to(ENGINE).parts[0].removesuffix(".py")
        if "migrations" in path.parts:
            continue
        for name in written_in(path.read_text()):
            found[name].add(room)
    return dict(found)


def imported_tables(tree: ast.AST) -> dict[str, str]:
    """Return the full names of the tables that a module imports, by the names that they have in it."""
    names = {table.name: table.fullname for table in metadata.tables.values()}
    return {
        alias.asname or alias.name: names[alias.name]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("enerflo_sync.warehouse.schema")
        for alias in node.names
        if alias.name in names
    }


def written_in(source: str) -> set[str]:
    tree = ast.parse(source)
    known = imported_tables(tree)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {name.lower() for name in _WRITES.findall(node.value)}
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            arguments = [one.id for one in ast.walk(node) if isinstance(one, ast.Name)]
            if called in _CALLS:
                found |= {known[name] for name in arguments if name in known}
    return found & TABLES


def test_the_reading_of_statements_sees_both_ways_of_writing() -> None:
    source = (
        "from enerflo_sync.warehouse.schema import ledger, plans\n"
        "import sqlalchemy as sa\n"
        "STATEMENT = 'insert into sync.runs (a) values (1)'\n"
        "OTHER = 'select from sync.watermarks'\n"
        "sa.insert(ledger).values(a=1)\n"
        "sa.select(plans)\n"
    )
    assert written_in(source) == {"sync.runs", "sync.ledger"}


def test_a_room_writes_its_own_tables_and_those_that_stand_here_with_a_reason() -> None:
    said: dict[str, set[str]] = defaultdict(set)
    for room, names in OF_ROOMS.items():
        for name in names.split():
            said[name].add(room)
    assert all(len(rooms) == 1 for rooms in said.values())
    for room, name in BESIDE:
        said[name].add(room)
    assert rooms_that_write() == said
