"""Which rooms read tables of rooms that come after them in the order of imports: each is a decision, said here.

A room may read the tables of the rooms before it, as it may import them. A read against that order is an arrow
that no import shows.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from tests.test_structure import ROOMS
from tests.warehouse.test_who_writes import ENGINE, OF_ROOMS, TABLES, imported_tables

_FORGOTTEN = "who was forgotten must not come back, whoever reads of them"
_PRUNED = "what a prune has deleted is said where it is missing"
# Room, table, and why the room has to know it.
AGAINST_THE_ORDER = {
    ("mirror", "sync.forgotten"): _FORGOTTEN,
    ("plan", "sync.forgotten"): _FORGOTTEN,
    ("explain", "sync.forgotten"): _FORGOTTEN,
    ("warehouse", "sync.prunings"): _PRUNED,
    ("warehouse", "sync.pruned_versions"): _PRUNED,
    ("explain", "sync.prunings"): _PRUNED,
    ("resources", "enerflo.installs"): "the declaration of installs names their table",
    ("mirror", "sync.webhook_events"): "which records polls told of and which webhooks did",
    ("inbox", "sync.reveals"): "who had a payload in quarantine shown unmasked",
    ("backfill", "sync.plans"): "a window that would meet an open plan is said before it is read",
    (
        "backfill",
        "sync.change_order_facts",
    ): "orders that a check holds are said before their installs are read",
    ("reconcile", "sync.agreed"): "the cause of a difference: who moved since both sides agreed",
    (
        "reconcile",
        "sync.agreed_keys",
    ): "by what the agreed values were stored, to read them by the mapping of now",
    ("reconcile", "sync.agreed_twins"): "rows that share a record have no agreed value",
    ("reconcile", "sync.own_writes"): "our own write is nobody's later change",
    ("reconcile", "sync.ledger"): "rows that our own plans deleted are no sudden loss",
    ("reconcile", "sync.crm_changes"): "the cause on_its_way: handed over, and not arrived",
    ("reconcile", "sync.crm_copies"): "how old a copy is, and to which database it belongs",
    ("reconcile", "sync.plans"): "the cause pending: in a plan that is open",
    ("reconcile", "sync.plan_changes"): "the cause pending, and requests whose outcome is unknown",
    ("reconcile", "sync.plan_undecided"): "explained differences that wait for a person: what a plan asks",
    ("reconcile", "sync.retries"): "the same: what could not be made, and nobody wants tried again",
    ("agreed", "sync.refusals"): "what a person refused of one of several columns, by each name it may have",
    ("agreed", "sync.plans"): "a pair is agreed on by the plan that wrote it",
    ("agreed", "sync.plan_changes"): "what a plan expected, and what became of it",
    ("outbox", "sync.plan_changes"): "what is to be sent",
    ("copies", "sync.plan_changes"): "whether a row whose id waits still says what was sent of it",
    ("copies", "sync.plans"): "which plan an undo takes back, and so which mark of a deletion",
    ("crm", "sync.ledger"): "the doctor: a table that takes back what plans write to it",
    (
        "crm",
        "sync.agreed_keys",
    ): "a milestone that has another title by now, and a title that is another one's: plans keep the titles",
    ("plan", "sync.change_order_facts"): "an order that a check holds is not planned",
    ("plan", "sync.quality_results"): "the reason why an order is held",
    ("retention", "sync.notifications"): "old messages are deleted",
}
_READS = re.compile(r"\b(?:from|join|using)\s+(?:only\s+)?((?:enerflo|sync)\.\w+)", re.IGNORECASE)


def read_in(source: str) -> set[str]:
    """Return the tables that a module's statements name after from, join or using, or that it imports."""
    tree = ast.parse(source)
    known = imported_tables(tree)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {name.lower() for name in _READS.findall(node.value)}
        elif isinstance(node, ast.Name) and node.id in known:
            found.add(known[node.id])
    return found & TABLES


def reads_against_the_order() -> dict[tuple[str, str], set[str]]:
    owner = {table: room for room, tables in OF_ROOMS.items() for table in tables.split()}
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in sorted(ENGINE.rglob("*.py")):
        room = path.relative_to(ENGINE).parts[0].removesuffix(".py")
        if "migrations" in path.parts or room not in ROOMS:
            continue
        for table in read_in(path.read_text()):
            if table in owner and ROOMS.index(room) < ROOMS.index(owner[table]):
                found[room, table].add(path.name)
    return found


def test_the_reading_of_statements_sees_both_ways_of_reading() -> None:
    source = (
        "from enerflo_sync.warehouse.schema import ledger, plans\n"
        "import sqlalchemy as sa\n"
        "STATEMENT = 'select a from sync.runs r join sync.watermarks w using (account)'\n"
        "OTHER = 'insert into sync.agreed values (1)'\n"
        "sa.select(ledger)\n"
    )
    assert read_in(source) == {"sync.runs", "sync.watermarks", "sync.ledger"}


def test_a_room_reads_no_table_of_a_later_room_but_those_that_stand_here_with_a_reason() -> None:
    assert reads_against_the_order().keys() == AGAINST_THE_ORDER.keys()
    assert all(AGAINST_THE_ORDER.values())
