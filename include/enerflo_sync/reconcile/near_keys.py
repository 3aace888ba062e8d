"""Records that seem to be missing in the CRM, since the CRM spells their key otherwise than it is compared.

A copy keeps a key as text, with zeros in front, blanks around it, or in another case. Compared as it stands
it meets nothing: the record is called missing, and a plan would make its row a second time. Here the keys
that met nothing are compared once more, without what is mere spelling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.join_columns import JoinColumn

# White space around it, case, a plus and zeros in front, and `.0` behind do not count.
_NORMAL = "regexp_replace(lower(btrim({}, E' \\t\\r\\n')), '^[+]?0*(?=[^.])|[.]0*$', '', 'g')"

# A row that meets a record as it stands names that one, and no other.
_NEAR = Template("""
select distinct $missing_names from (
  select x.*, $typed from ($missing) x join $crm t on $near where $spelled offset 0
) c
where not exists (select from $mirror e where $mirror_rows and e.deleted_at is null and $meets)""")

_COUNT = Template("""
/* enerflo-sync reconcile $name: missing records that the CRM names in another spelling */
select count(*) from ($rows) n
""")
_MISSING = Template("""select $names from sync.differences d
  where d.account = %(account)s and d.reconciliation_id = %(reconciliation_id)s and d.table_name = $table
    and d.field is null and d.crm_value is null""")

_NONE_NEAR = Template("""and not exists (
    select from (select $typed from $crm t where ($spelled) and $near offset 0) c
    where not exists (select from $mirror e where $mirror_rows and e.deleted_at is null and $meets))""")

_KEEP = Template("""
/* enerflo-sync plan $name: missing records that the CRM names in another spelling */
create temporary table $near on commit drop as $rows
""")

OTHER_SPELLING = (
    "a row of the CRM names it in another spelling of the key: enerflo-sync doctor proposes how to read it"
)


def may_be_near(comparison: Comparison) -> bool:
    """Return whether two spellings of one key are possible: the CRM keeps it as text."""
    return any(join.live.kind is Kind.TEXT for join in comparison.joins)


def count_near_keys(connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any]) -> int:
    """Return how many records a reconciliation calls missing that rows of the CRM name in another spelling.

    :param parameters: ``account`` and ``reconciliation_id``, whose differences are stored.
    """
    names = ", ".join(
        f"d.key ->> {literal(join.crm_name)} as m{n}" for n, join in enumerate(comparison.joins, 1)
    )
    missing = _MISSING.substitute(names=names, table=literal(comparison.name))
    statement = _COUNT.substitute(name=comparison.name, rows=_near(comparison, missing))
    return int(connection.exec_driver_sql(statement, parameters).scalar_one())


def keep_near_keys(connection: sa.Connection, comparison: Comparison, account: str) -> str:
    """Collect such records of ``mismatched``; return the condition that its row ``o`` is one of them."""
    if not may_be_near(comparison):
        return "false"
    numbers = range(1, len(comparison.joins) + 1)
    names = ", ".join(f"o.j{n}::text as m{n}" for n in numbers)
    missing = f"select {names} from {comparison.mismatched} o where o.in_enerflo and not o.in_crm"  # noqa: S608 - names
    near = f"pg_temp.near_{comparison.name}"
    statement = _KEEP.substitute(name=comparison.name, near=near, rows=_near(comparison, missing))
    connection.exec_driver_sql(statement, {"account": account})
    same = " and ".join(f"n.m{n} = o.j{n}::text" for n in numbers)
    return f"exists (select from {near} n where {same})"


def no_near_row(comparison: Comparison, links: Mapping[str, str]) -> str:
    """Return ``and …``: no row of the CRM names a record in another spelling by now; takes ``account``.

    For a row that is to be made: somebody may have made it by hand since the plan.

    :param links: the record's value of each join column, as an expression.
    """
    if not may_be_near(comparison) or links.keys() != {join.crm_name for join in comparison.joins}:
        return ""
    near = (
        f"{_normal(f'({links[join.crm_name]})::text')} = {_normal(_text(join))}" for join in comparison.joins
    )
    return _NONE_NEAR.substitute(_common(comparison), near=" and ".join(near))


def is_near_any(connection: sa.Connection, key: str, others: Sequence[str]) -> bool:
    """Return whether one of other texts is a key in another spelling."""
    query = (
        f"/* enerflo-sync carry: keys in another spelling */ select exists (select"  # noqa: S608 - constants
        f" from unnest(%(others)s::text[]) o(key) where {_normal('o.key')} = {_normal('%(key)s::text')})"
    )
    named = {"others": list(others), "key": key}
    return bool(connection.exec_driver_sql(query, named).scalar_one())


def _near(comparison: Comparison, missing: str) -> str:
    numbered = list(enumerate(comparison.joins, 1))
    return _NEAR.substitute(
        _common(comparison),
        missing=missing,
        missing_names=", ".join(f"c.m{n}" for n, _ in numbered),
        near=" and ".join(f"{_normal(f'x.m{n}')} = {_normal(_text(join))}" for n, join in numbered),
    )


def _common(comparison: Comparison) -> dict[str, str]:
    return {
        "typed": comparison.select_join("crm"),
        # Rows that are marked as deleted, or stand outside where, keep a record from being made as well.
        "crm": comparison.crm,
        "spelled": " or ".join(_is_spelled(join) for join in comparison.joins if join.live.kind is Kind.TEXT),
        "mirror": comparison.mirror,
        "mirror_rows": comparison.mirror_rows,
        "meets": " and ".join(
            f"({join.mirror})::{join.type} = c.j{n}" for n, join in enumerate(comparison.joins, 1)
        ),
    }


def _normal(text: str) -> str:
    return _NORMAL.format(text)


def _text(join: JoinColumn) -> str:
    return f"t.{quoted(join.crm_name)}::text"


def _is_spelled(join: JoinColumn) -> str:
    """Return whether a value may be another one's spelling: of a number, unless it is its plain digits."""
    raw = _text(join)
    if join.mirror_kind is not Kind.INTEGER:
        return f"{raw} <> ''"
    return f"{raw} <> '' and (btrim({raw}, '0123456789') <> '' or left({raw}, 1) = '0')"
