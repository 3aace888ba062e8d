"""Which raw versions go: those between the first and the last of a record that nothing cites."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.retention import Kept
from enerflo_sync.retention import versions
from enerflo_sync.retention.versions import VersionsSweep
from tests.retention.rows import (
    BEFORE,
    BOUND,
    DAY,
    MOMENT,
    NOW,
    OLD,
    RECENT,
    Row,
    noted,
    put_worlds,
    rows_of,
    swept,
    total,
)

ACCOUNT, OTHER = "one", "other"
CONFIG = """
version: 1
accounts: {one: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    fields: {panels: {enerflo: panel_count, type: integer}}
  sites:
    of: installs
    crm_table: crm.sites
    key: [own]
    join: {enerflo_install_id: install_id}
    fields: {panels: {enerflo: panel_count, type: integer}}
  notes:
    crm_table: crm.notes
    key: {note: note_id}
    fields: {body: {enerflo: body, type: text}}
"""
# When the versions of a record were first seen, unless a world says otherwise.
AT = [OLD + n * DAY for n in range(6)]
USUAL = {0, 5}


def version(install: int, number: int, at: datetime) -> Row:
    row = {"install_id": install, "content_hash": f"v{number}", "raw": {"number": "x" * number}}
    return "enerflo.install_versions", {**row, "first_seen_at": at}


def mirror(install: int, **values: Any) -> Row:
    return "enerflo.installs", {"install_id": install, "content_hash": "v5", "observed_at": NOW, **values}


def milestone(install: int, at: datetime) -> Row:
    return "enerflo.milestones", {"install_id": install, "milestone_id": 1, "observed_at": at}


def order(install: int, **values: Any) -> Row:
    return "enerflo.change_orders", {"change_order_id": install, "install_id": install, **values}


def told(table: str, **values: Any) -> Row:
    """One decision, with its moment and its keys."""
    row: dict[str, Any] = {"table_name": "installs"}
    if table != AGREED:
        row |= {"op": "update", "direction": "to_crm"}
        row |= (
            {"decision": "applied"} if table == LEDGER else {"state": "applied", "position": next(POSITIONS)}
        )
    return table, {**row, **values}


def of(install: object) -> dict[str, dict[str, object]]:
    return {"key": {"enerflo_install_id": install}}


def own(install: int) -> dict[str, Any]:
    return {"table_name": "sites", "key": {"own": f"k{install}"}}


def by_record(install: int) -> dict[str, dict[str, int]]:
    return {"enerflo_key": {"install_id": install}}


LEDGER, CHANGES, AGREED = "sync.ledger", "sync.plan_changes", "sync.agreed"
POSITIONS = count(1)
NUMBERS = count(1)
# By install: the world's name, what else there is of it, which versions stay, and when each was first seen.
WORLDS: dict[int, tuple[str, list[Row], set[int], list[datetime]]] = {}


def world(
    name: str, kept: set[int], *rows: Callable[[int], Row], times: Sequence[datetime] = tuple(AT)
) -> None:
    """Note a world; its rows are made of its install's number."""
    number = next(NUMBERS)
    made = [row(number) for row in rows]
    if not name.startswith("without") and "enerflo.installs" not in {table for table, _ in made}:
        made.append(mirror(number))
    WORLDS[number] = (name, made, kept, list(times))


world("nothing cites one", USUAL)
world("two versions", {0, 1}, times=AT[:2])
world("one that began at the bound", {0, 2, 3}, times=[OLD, OLD + DAY, BEFORE, BEFORE + DAY])
world("one that began just before the bound", {0, 2}, times=[OLD, BEFORE - MOMENT, RECENT])
world("two of the first moment", {0, 1, 3}, times=[AT[0], AT[0], AT[1], AT[2]])
world("two of the last moment", {0, 2, 3}, times=[AT[0], AT[1], AT[2], AT[2]])
world("the present is an earlier one", {0, 2, 5}, lambda n: mirror(n, content_hash="v2"))
world("the present is not known", USUAL, lambda n: mirror(n, content_hash=None))
world("without a row in the mirror", set(range(6)))
world("seen last at its beginning", {0, 2, 5}, lambda n: mirror(n, observed_at=AT[2]))
world("seen last at its end", {0, 2, 5}, lambda n: mirror(n, observed_at=AT[3] - MOMENT))
world("a milestone was seen then", {0, 3, 5}, lambda n: milestone(n, AT[3] + MOMENT))
world("an order was signed then", {0, 2, 5}, lambda n: order(n, signed_at=AT[3]))
world("an order was signed after it", {0, 3, 5}, lambda n: order(n, signed_at=AT[3] + MOMENT))
world("an order was not signed", USUAL, lambda n: order(n, observed_at=AT[3]))
for table, at in (
    *((LEDGER, "observed_at"), (LEDGER, "recorded_at")),
    *((CHANGES, "observed_at"), (CHANGES, "agreed_at"), (AGREED, "agreed_at")),
):
    named = {at: AT[2]}
    for said, kept, keys in (
        ("cites it", {0, 2, 5}, of),
        ("cites it by a text", {0, 2, 5}, lambda n: of(str(n))),
        ("is of what is no id", USUAL, lambda n: of(f"x{n}")),
        ("is of too large an id", USUAL, lambda n: of(f"{n}{'9' * 18}")),
        ("is of a former table", USUAL, lambda n: {"table_name": "former", **of(n)}),
        (
            "is of other records",
            USUAL,
            lambda n: {"table_name": "notes", "key": {"note": n, "install_id": n}},
        ),
        ("is of no known record", USUAL, own),
    ):
        world(
            f"{table}.{at} {said}",
            kept,
            lambda n, table=table, keys=keys, named=named: told(table, **keys(n), **named),  # type: ignore[misc]
        )
world("a decision is of when its value was seen", {0, 2, 5},
    lambda n: told(LEDGER, **of(n), observed_at=AT[2], recorded_at=AT[3]))  # fmt: skip
world("a change cites both", {0, 2, 3, 5},
    lambda n: told(CHANGES, **of(n), observed_at=AT[2], agreed_at=AT[3]))  # fmt: skip
for table in (CHANGES, AGREED):
    world(f"{table} names the record, and another in its key", {0, 2, 5},
        lambda n, table=table: told(table, **of(n + 1_000), **by_record(n), agreed_at=AT[2]))  # type: ignore[misc]  # fmt: skip
    world(f"{table} of a key of its own", {0, 3, 5},
        lambda n, table=table: told(table, **own(n), **by_record(n), agreed_at=AT[3]))  # type: ignore[misc]  # fmt: skip
for table in (CHANGES, AGREED):
    world(
        f"{table} of other records names an install",
        USUAL,
        lambda n, table=table: told(  # type: ignore[misc]
            table, table_name="notes", key={"note": n}, **by_record(n), agreed_at=AT[2]
        ),
    )
for said, kept, pair in (
    ("by its pair", {0, 2, 5}, {}),
    ("whose pair is not known", USUAL, {"enerflo_key": None}),
    ("whose pair is another row's", USUAL, {"key": {"own": "x"}}),
    ("whose pair is another table's", USUAL, {"table_name": "installs"}),
):
    world(
        f"a decision of a key of its own, {said}",
        kept,
        lambda n: told(LEDGER, **own(n), observed_at=AT[2]),
        lambda n, pair=pair: told(  # type: ignore[misc]
            AGREED, **{**own(n), **by_record(n), "agreed_at": NOW, "field": f"f{n}", **pair}
        ),
    )


def stored(install: int, times: Sequence[datetime]) -> list[Row]:
    return [version(install, number, at) for number, at in enumerate(times)]


@pytest.fixture
def tables(tmp_path: Path) -> Mapping[str, TableMapping]:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    return load_config(path, {}).tables_for(ACCOUNT)


@pytest.fixture
def full(warehouse: sa.Engine) -> sa.Engine:
    """The worlds, and another account in which everything cites what nothing cites in the first one."""
    here = [row for n, (_, rows, _, times) in WORLDS.items() for row in (*rows, *stored(n, times))]
    there = [
        row
        for n in WORLDS
        for row in (
            *(mirror(n, observed_at=AT[1], content_hash="v4"), milestone(n, AT[1])),
            *(order(n, signed_at=AT[2]), *stored(n, AT)),
            *(told(table, **of(n), agreed_at=AT[1]) for table in (CHANGES, AGREED)),
            *(told(LEDGER, **of(n), observed_at=AT[1]), told(AGREED, **own(n), **by_record(n))),
        )
    ]
    put_worlds(warehouse, {ACCOUNT: here, OTHER: there})
    return warehouse


def left(engine: sa.Engine, account: str = ACCOUNT) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for install, name in rows_of(
        engine, "select install_id, content_hash from enerflo.install_versions where account = :a", a=account
    ):
        found.setdefault(install, set()).add(int(name[1:]))
    return found


def test_the_first_the_last_and_what_is_cited_stay(
    full: sa.Engine, tables: Mapping[str, TableMapping], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "RECORDS", 7)
    size = "select coalesce(sum(pg_column_size(raw)), 0)::int from enerflo.install_versions"
    before, ((had,),) = left(full), rows_of(full, size)
    looked = swept(full, VersionsSweep(tables), Kept.VERSIONS, ACCOUNT, dry=True)
    assert left(full) == before
    assert noted(full) == {}
    assert rows_of(full, "select * from sync.pruned_versions") == []
    gone = swept(full, VersionsSweep(tables), Kept.VERSIONS, ACCOUNT)
    assert gone == looked
    assert len(gone) > 3
    after, ((has,),) = left(full), rows_of(full, size)
    assert {WORLDS[n][0]: kept for n, kept in after.items()} == {
        name: kept for name, _, kept, _ in WORLDS.values()
    }
    assert left(full, OTHER) == {n: set(range(6)) for n in WORLDS}
    lost = {n: before[n] - after[n] for n in WORLDS}
    assert total(gone) == (sum(map(len, lost.values())), had - has)
    told_of = noted(full)[ACCOUNT, "versions"]
    assert told_of == (*total(gone), AT[1], BEFORE - MOMENT, NOW, BOUND, BEFORE)
    assert pruned(full) == {
        n: [WORLDS[n][3][one] for one in sorted(ones)] for n, ones in lost.items() if ones
    }
    assert swept(full, VersionsSweep(tables), Kept.VERSIONS, ACCOUNT) == []


def pruned(engine: sa.Engine) -> dict[int, list[datetime]]:
    found = rows_of(
        engine,
        "select record_id, seen_at from sync.pruned_versions where account = :a and table_name = 'installs'"
        " and pruned_at = :at and bound = :bound",
        **{"a": ACCOUNT, "at": NOW, "bound": BOUND},
    )
    return {row[0]: row[1] for row in found}


def test_what_a_later_run_deletes_is_told_with_what_went_before(
    warehouse: sa.Engine, tables: Mapping[str, TableMapping]
) -> None:
    put_worlds(warehouse, {ACCOUNT: [mirror(1, content_hash="v9"), *stored(1, AT[:3])]})
    assert total(swept(warehouse, VersionsSweep(tables), Kept.VERSIONS, ACCOUNT))[0] == 1
    put_worlds(warehouse, {ACCOUNT: [version(1, 9, AT[3])]})
    assert total(swept(warehouse, VersionsSweep(tables), Kept.VERSIONS, ACCOUNT))[0] == 1
    assert pruned(warehouse) == {1: [AT[1], AT[2]]}
    assert left(warehouse) == {1: {0, 9}}


def test_versions_of_every_kind_that_keeps_them_go(
    warehouse: sa.Engine, tables: Mapping[str, TableMapping]
) -> None:
    rows = [
        ("enerflo.appointment_versions", {"appointment_id": 1, "content_hash": f"v{n}", "first_seen_at": at})
        for n, at in enumerate(AT[:3])
    ]
    # An order, and the decisions about installs, are of other records.
    others = [order(1, signed_at=AT[2]), told(AGREED, **of(1), agreed_at=AT[1])]
    appointment = ("enerflo.appointments", {"appointment_id": 1, "observed_at": NOW})
    put_worlds(warehouse, {ACCOUNT: [*rows, *others, appointment]})
    assert total(swept(warehouse, VersionsSweep(tables), Kept.VERSIONS, ACCOUNT))[0] == 1
    found = "select content_hash from enerflo.appointment_versions order by 1"
    assert rows_of(warehouse, found) == [("v0",), ("v2",)]
