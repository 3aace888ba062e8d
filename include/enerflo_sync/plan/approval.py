"""The rules of ``approval`` in sync.yaml: which plans wait for a person's approval, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.changed_clocks import changed_clocks
from enerflo_sync.agreed.key_changes import key_change_reasons
from enerflo_sync.counted import count_of
from enerflo_sync.crm.chosen_rows import unmarked
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.where import condition
from enerflo_sync.plan.backfilled import changes_from_backfills
from enerflo_sync.plan.second_person import TWO_PERSONS
from enerflo_sync.reconcile.values import BLANK

_EMPTY = "coalesce(btrim({value} #>> '{{}}', {blank}), '') = ''"
_AFTER, _BEFORE = (_EMPTY.format(value=value, blank=BLANK) for value in ("after", "before"))
# Condition on a change of ``planned``: it takes a value away. A blank text is as little a value as a null is.
TAKES_AWAY = f"op = 'update' and {_AFTER} and not ({_BEFORE})"

_COUNTS = sa.text(f"""
/* enerflo-sync plan: what approval asks about */
select count(*) as changes,
       count(*) filter (where direction = 'to_enerflo') as to_enerflo,
       count(*) filter (where op = 'delete') as deletions,
       count(*) filter (where {TAKES_AWAY}) as nulled
from pg_temp.planned
""")  # noqa: S608 - constants

_ROWS = Template("""
/* enerflo-sync plan: rows that change, by table */
select table_name, count(*) as rows from (select distinct table_name, key from pg_temp.planned where $among) r
group by table_name order by 1
""")

_PROTECTED = Template("""
/* enerflo-sync plan: changes of protected fields */
select p.table_name || '.' || p.field as name, count(*) as changes
from pg_temp.planned p
where p.op = 'update' and (p.table_name, p.field) in ($fields) group by 1 order by 1
""")

_FIELDS = """
/* enerflo-sync plan: fields that change */
select distinct table_name, field from pg_temp.planned where field is not null order by 1, 2
"""

_MAPPING_BEFORE = sa.text("""
/* enerflo-sync plan: the mapping of what was applied last */
select config_hash from sync.plans where account = :account and applied_at is not null and change_count > 0
order by applied_at desc limit 1
""")

_FILLED = """
/* enerflo-sync plan: columns of the CRM that get a first value, and how often */
select table_name, field, count(*) as changes from pg_temp.planned
where op = 'update' and direction = 'to_crm' and coalesce(before, 'null') = 'null' group by 1, 2 order by 1, 2
"""

# The keys are the results of :func:`changed_mapping`, which compares with the last applied plan only.
_NEW_TO = {
    "account": "No plan of this account was applied as a whole yet",
    "changed mapping": "The mapping is another one than that of the last plan that was applied as a whole",
}

# This query reads the whole ledger of an account that never wrote to Enerflo, so it runs only if the answer
# matters.
_WROTE_TO_ENERFLO = sa.text("""
/* enerflo-sync plan: whether anything was written to Enerflo before */
select exists (select from sync.ledger where account = :account and direction = 'to_enerflo'
               and decision = 'applied')
""")


def approval_reasons(connection: sa.Connection, config: SyncConfig, account: str) -> list[str]:
    """Return why the plan in ``planned`` waits for a person, as sentences; an empty list if it need not wait.

    Each sentence names the option of sync.yaml that requires it.
    """
    counts = connection.execute(_COUNTS).mappings().one()
    if not counts["changes"]:
        return []
    found = [
        *_of_size(connection, config, account, counts["changes"]),
        *_of_kind(connection, config, account),
    ]
    return with_two_persons(config, found)


def with_two_persons(config: SyncConfig, reasons: list[str]) -> list[str]:
    """Return the reasons, followed by the sentence about two persons if ``approval.second_person`` is set."""
    return [*reasons, TWO_PERSONS] if reasons and config.approval.second_person else reasons


def _of_size(connection: sa.Connection, config: SyncConfig, account: str, changes: int) -> Iterator[str]:
    rules = config.approval
    if rules.always:
        yield "Every plan waits for a person (approval.always)."
    if changes > rules.changes:
        yield f"It makes {count_of(changes, 'change')}, more than {rules.changes:,} (approval.changes)."
    from_backfills = changes_from_backfills(connection)
    if from_backfills > rules.backfill_changes:
        yield (
            f"A backfill brought in what {from_backfills:,} of its changes say,"
            f" more than {rules.backfill_changes:,} (approval.backfill_changes)."
        )
    for name, share in exceeds_percent(connection, config, account).items():
        yield f"It changes {share} of {name}, more than {rules.percent:g} % (approval.percent)."


def exceeds_percent(
    connection: sa.Connection, config: SyncConfig, account: str, *, among: str = "true"
) -> dict[str, str]:
    """Return the tables in which a larger share of rows changes than ``approval.percent``, with that share.

    :param among: a condition on the changes of ``planned``; only these count.
    """
    rules = config.approval
    if rules.percent >= 100:
        return {}
    found = {}
    tables = config.tables_for(account)
    for name, rows in connection.exec_driver_sql(_ROWS.substitute(among=among)).all():
        table = quoted(*tables[name].relation)
        # Rows that are marked as deleted count as rows that are not there.
        where = f" where {condition(tables[name].condition or 'true')}{unmarked(tables[name])}"
        # Counting stops at the number of rows from which the share is small enough.
        enough = math.ceil(rows * 100 / rules.percent) if rules.percent else None
        counted = f"select count(*) from (select from {table}{where} limit %(enough)s) t"  # noqa: S608
        total = connection.exec_driver_sql(counted, {"enough": enough}).scalar_one()
        if rows * 100 > rules.percent * total:
            found[name] = f"{rows * 100 / total:.1f} %" if total else "all"
    return found


def _of_kind(connection: sa.Connection, config: SyncConfig, account: str) -> Iterator[str]:
    rules = config.approval
    counts = connection.execute(_COUNTS).mappings().one()
    if rules.deletions and counts["deletions"]:
        yield f"It deletes {count_of(counts['deletions'], 'row')} (approval.deletions)."
    if rules.nulling and counts["nulled"]:
        yield f"It takes {count_of(counts['nulled'], 'value')} away (approval.nulling)."
    for name, count in _protected(connection, config, account):
        yield f"It changes the protected field {name} {count_of(count, 'time')} (protected)."
    for _, sentence in key_change_reasons(connection, account):
        yield sentence
    clocks = {(table, field): sentence for table, field, sentence in changed_clocks(connection, account)}
    if clocks:
        planned = connection.exec_driver_sql(_FIELDS).tuples()
        yield from (clocks[table, field] for table, field in planned if (table, field) in clocks)
    if rules.new_mapping and (which := changed_mapping(connection, config, account)):
        yield f"{_NEW_TO[which]} (approval.new_mapping)."
    yield from _of_empty_columns(connection, config, account)
    to_enerflo = rules.first_to_enerflo and counts["to_enerflo"]
    if to_enerflo and not wrote_to_enerflo(connection, account):
        yield "It is the first that writes to Enerflo (approval.first_to_enerflo)."


def _of_empty_columns(connection: sa.Connection, config: SyncConfig, account: str) -> Iterator[str]:
    """Yield sentences about columns that the plan fills and that hold nothing in any row of a copy.

    A tool that copies a new column often leaves it empty in the rows that the copy has already. Then the CRM
    may have values that nobody here has seen, and that Enerflo's would go over.
    """
    tables = config.tables_for(account)
    for name, field, changes in connection.exec_driver_sql(_FILLED).tuples():
        mapping = tables[name]
        if mapping.handed_to is None or field not in mapping.fields:
            continue
        table = quoted(*mapping.relation)
        holds = f"select exists (select from {table} where {quoted(field)} is not null)"  # noqa: S608 - names
        if not connection.exec_driver_sql(holds).scalar():
            yield (
                f"It fills {name}.{field} in {count_of(changes, 'row')}, and no row of the copy has a value"
                " there: a copy that got the column late does not show what the CRM has."
            )


def changed_mapping(connection: sa.Connection, config: SyncConfig, account: str) -> str | None:
    """Return ``account`` or ``changed mapping`` if no plan of it was applied yet; otherwise None."""
    before = connection.scalar(_MAPPING_BEFORE, {"account": account})
    if before == config.hash(account):
        return None
    return "changed mapping" if before else "account"


def wrote_to_enerflo(connection: sa.Connection, account: str) -> bool:
    """Return whether a change of the account was ever written to Enerflo."""
    return bool(connection.scalar(_WROTE_TO_ENERFLO, {"account": account}))


def protected_fields(config: SyncConfig, account: str) -> list[tuple[str, str]]:
    """Return the protected fields, each with its table."""
    return [
        (name, column)
        for name, table in config.tables_for(account).items()
        for column, field in table.fields.items()
        if field.protected
    ]


def _protected(connection: sa.Connection, config: SyncConfig, account: str) -> list[Any]:
    fields = protected_fields(config, account)
    if not fields:
        return []
    listed = ", ".join(f"({literal(table)}, {literal(field)})" for table, field in fields)
    query = _PROTECTED.substitute(fields=listed)
    return list(connection.exec_driver_sql(query, {}).all())
