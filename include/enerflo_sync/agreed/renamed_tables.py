"""Tables that were renamed in ``sync.yaml``: what is stored under the former name moves to the new name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.meanings import OF_ROWS, STORED_AS, changed_parts, with_changed_meanings
from enerflo_sync.warehouse.schema import agreed, agreed_keys, agreed_twins, refusals

_STORED = sa.text("""
/* enerflo-sync plan: names of tables under which pairs are stored */
select table_name, columns from sync.agreed_keys where account = :account
""")
_HAS_PAIRS = sa.text("""
/* enerflo-sync plan: whether a table has pairs */
select exists (select from sync.agreed where account = :account and table_name = :table)
""")
_MOVE = Template("""
/* enerflo-sync plan: what is stored under another name of a table */
update sync.$target set table_name = :after where account = :account and table_name = :before and $which
""")
# When a handed-over change arrives in the CRM's copy, its agreed values come from these rows of its plan.
_LOOKED_FOR = """exists (
    select from sync.crm_changes w
    where w.account = plan_changes.account and w.plan_hash = plan_changes.plan_hash
      and w.table_name = plan_changes.table_name and w.key = plan_changes.key and w.ended_at is null)"""
# Changes that were sent and may still arrive at Enerflo, and changes that show which values a plan saw
# (enerflo_sync.reconcile.seen_otherwise). A change that was applied keeps the name of its time.
NEEDED_CHANGES = "state <> 'applied' and (op = 'update' or sent_at is not null and confirmed is null)"
# The questions of the last plan, which the next one asks again (enerflo_sync.reconcile.still_asked).
ASKED_LAST = """plan_hash in (
    select p.plan_hash from sync.plans p
    where p.account = plan_undecided.account and p.kind = 'sync'
      and p.created_at = (select max(q.created_at) from sync.plans q
                          where q.account = p.account and q.kind = 'sync'))"""
# Rows that are still in use. Rows about something that ended keep the name that the table had then.
_UNDER_NAMES = (
    ("agreed", "true"),
    ("agreed_twins", "true"),
    ("agreed_keys", "true"),
    ("own_writes", "side = 'crm'"),
    ("refusals", "ended_at is null"),
    ("plan_changes", NEEDED_CHANGES),
    ("plan_changes", _LOOKED_FOR),
    ("plan_undecided", ASKED_LAST),
    ("crm_changes", "ended_at is null"),
)


def follow_names(
    connection: sa.Connection, comparisons: Sequence[Comparison], config: SyncConfig, account: str
) -> list[Comparison]:
    """Move what is stored under a table's former name to its new name; return comparisons that know of it.

    A name that is not mapped any more, or that is now the name of another CRM table, is the former name of a
    new one if its pairs belong to the same CRM table and kind of record. Of several candidates the one that
    shares most fields is taken. A name that now belongs to a CRM table that is new keeps what was agreed on
    and refused, too: the rows may have been moved there. Runs in the caller's transaction.

    :raises ConfigurationError: several candidates share equally many fields. Nothing is moved then, so that
        no refusal is lost.
    """
    rows = connection.execute(_STORED, {"account": account})
    stored: dict[str, Any] = {row.table_name: row.columns for row in rows}
    kept = {one.name for one in comparisons if _of(one) in _stood_for(one.name, stored)}
    shared = {
        (before, comparison.name): count
        for comparison in comparisons
        if comparison.name not in kept and _may_be_new(connection, comparison, account, stored)
        for before, count in _former_names(comparison, stored, kept).items()
    }
    moves = _with_what_they_displace(_matched(shared), stored)
    if not moves:
        return list(comparisons)
    for step in _steps(moves):
        for before, after in step:
            for target, which in _UNDER_NAMES:
                _rename(connection, account, target, which, before, after)
            _rename(connection, account, "agreed_keys", "true", *map(STORED_AS.format, (before, after)))
    taken = {after for _, after in moves}
    for before, after in moves:
        if before not in taken and before in {one.name for one in comparisons}:
            _leave_too(connection, account, after, before)
    return with_changed_meanings(connection, config, account, comparisons)


def _leave_too(connection: sa.Connection, account: str, after: str, before: str) -> None:
    """Copy what was agreed on and refused back to the name from which it was moved."""
    for table in (agreed, agreed_twins, agreed_keys, refusals):
        which = sa.and_(table.c.account == account, table.c.table_name == after)
        if table is refusals:
            which = sa.and_(which, refusals.c.ended_at.is_(None))
        copy_rows(connection, table, which, table_name=before)
    meanings = sa.and_(agreed_keys.c.account == account, agreed_keys.c.table_name == STORED_AS.format(after))
    copy_rows(connection, agreed_keys, meanings, table_name=STORED_AS.format(before))


def copy_rows(
    connection: sa.Connection, table: sa.Table, which: sa.ColumnElement[bool], **other: str
) -> None:
    """Copy rows of one of our tables, with other values in some columns."""
    columns = [one for one in table.c if one.computed is None and one.identity is None]
    values = [sa.literal(other[one.name]) if one.name in other else one for one in columns]
    rows = sa.select(*values).where(which)
    connection.execute(table.insert().from_select([one.name for one in columns], rows))


def _with_what_they_displace(
    matched: Sequence[tuple[str, str]], stored: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Return the moves, and those that make room: under a new name another CRM table may have its rows."""
    former, befores = {after: before for before, after in matched}, {before for before, _ in matched}
    moves = list(matched)
    for after in former:
        if after in stored and after not in befores:
            free = after
            while free in former:
                free = former[free]
            moves.append((after, free))
    return moves


def _steps(moves: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Return the moves, in two steps if a name that one table gives up is taken by another."""
    befores, afters = zip(*moves, strict=True)
    if set(befores).isdisjoint(afters):
        return [list(moves)]
    # No table can have such a name.
    between = [f"{after}/moving" for after in afters]
    return [list(zip(befores, between, strict=True)), list(zip(between, afters, strict=True))]


def _of(comparison: Comparison) -> tuple[str, str]:
    """Return the CRM table and the kind of record that a table maps."""
    return full_name(comparison.mapping), str(comparison.kind)


def _stood_for(name: str, stored: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the CRM table and the kind of record of the pairs that are stored under a name.

    Columns that are not mapped any more may name an earlier table; the meaning of the rows does not.
    """
    fields = stored.get(STORED_AS.format(name), {})
    said = [fields[OF_ROWS]] if OF_ROWS in fields else fields.values()
    return {(one["crm"][0], one["enerflo"][0]) for one in said}


def _may_be_new(
    connection: sa.Connection, comparison: Comparison, account: str, stored: Mapping[str, Any]
) -> bool:
    """Return whether nothing is stored under a table's name, or only pairs of another CRM table."""
    if not stored.keys().isdisjoint((comparison.name, STORED_AS.format(comparison.name))):
        return bool(_stood_for(comparison.name, stored))
    return not connection.scalar(_HAS_PAIRS, {"account": account, "table": comparison.name})


def _former_names(comparison: Comparison, stored: Mapping[str, Any], kept: set[str]) -> dict[str, int]:
    """Return the possible former names of a table, each with the number of fields that both names share.

    :param kept: names whose table is the one that it was.
    """
    found = {}
    for name in sorted(stored.keys() - kept - {comparison.name}):
        if _of(comparison) in _stood_for(name, stored):
            fields = stored[STORED_AS.format(name)]
            found[name] = sum(
                field in fields and not changed_parts(fields[field], meaning)
                for field, meaning in comparison.meanings.items()
            )
    return found


def _matched(shared: Mapping[tuple[str, str], int]) -> list[tuple[str, str]]:
    """Return the pairs of a former and a present name of one table.

    :param shared: by former and present name, how many fields both have.
    :raises ConfigurationError: two candidates for one name share equally many fields.
    """
    left, found = dict(shared), []
    while left:
        most = max(left.values())
        best = [pair for pair, count in left.items() if count == most]
        for at in (0, 1):
            if len({pair[at] for pair in best}) < len(best):
                raise _which_is_it(best)
        found += best
        taken = {name for pair in best for name in pair}
        left = {pair: count for pair, count in left.items() if taken.isdisjoint(pair)}
    return found


def _which_is_it(pairs: Sequence[tuple[str, str]]) -> ConfigurationError:
    befores, afters = (sorted({pair[at] for pair in pairs}) for at in (0, 1))
    return ConfigurationError(
        f"{' and '.join(afters)} {'is' if len(afters) == 1 else 'are'} new and of the same CRM table as"
        f" {' and '.join(befores)}, which sync.yaml does not map to it any more. Which table got which"
        " name cannot be told, and what people refused belongs to one of them.",
        where="sync.yaml: tables",
        next_step=(
            f"Name the table that was {befores[0]} so once more, run enerflo-sync plan, and then rename it."
        ),
    )


def _rename(
    connection: sa.Connection, account: str, target: str, which: str, before: str, after: str
) -> None:
    statement = sa.text(_MOVE.substitute(target=target, which=which))
    connection.execute(statement, {"account": account, "before": before, "after": after})
