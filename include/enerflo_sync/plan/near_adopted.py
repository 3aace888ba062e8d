"""Records and CRM rows that ``adopt`` does not bring together: the keys differ in spelling, or are repeated.

A new row of the CRM would be a second one, and a new record of Enerflo, too: a person is asked about both.
"""

from __future__ import annotations

from string import Template
from typing import NamedTuple

import sqlalchemy as sa

from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.plan.row_kinds import RowKinds
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.near_keys import OTHER_SPELLING, normal_key

# Salesforce has two forms of one id: 15 characters, and the same with three more. One record and one row
# whose keys are equal are adopted before: those that are equal here are several, or the row does not count.
_KEEP = Template("""
/* enerflo-sync plan $name: missing records that a row without a link names in another spelling */
create temporary table $near on commit drop as
with missing as (
  select o.p1, $theirs from $mismatched o join $mirror r on r.account = %(account)s and r.$p1 = o.p1
  where o.in_enerflo and not o.in_crm
), unlinked as (select $keys, $ours from $crm t where $open)
select m.p1, $of_row, $equal as is_equal from missing m join unlinked t on $normal
union
select m.p1, $of_row, false from missing m join unlinked t on $longer and $ids
""")

NEAR_RECORD = (
    "a record of Enerflo has its key in another spelling, or may have it: let the row name that record, or"
    " correct one of the keys"
)


NOT_ONE_TO_ONE = (
    "rows of the CRM and records of Enerflo with this key (adopt) are not one and one, or the row is marked"
    " as deleted or stands outside where: let the right row name its record, or correct the keys"
)


class NearAdopted(NamedTuple):
    """Conditions about a judged row ``o``, as SQL.

    :param record: whether a CRM row without a link may be the record ``o``.
    :param why: the reason why such a record, or one that ``OTHER_SPELLING`` is said of, gets no row.
    :param row: ``when … then …``, which gives the reason why a CRM row ``o`` becomes no record; or ``""``.
    """

    record: str = "false"
    why: str = literal(OTHER_SPELLING)
    row: str = ""


def keep_near_adopted(
    connection: sa.Connection, comparison: Comparison, account: str, kinds: RowKinds
) -> NearAdopted:
    """Collect the records and rows that may be the same, of those that only one side has."""
    pairs = comparison.mapping.adopt_columns
    if not (pairs and kinds.only_enerflo and kinds.only_crm):
        return NearAdopted()
    numbers = range(1, len(pairs) + 1)
    keys = comparison.mapping.key_columns
    near = f"pg_temp.near_adopted_{comparison.name}"
    statement = _KEEP.substitute(
        name=comparison.name,
        near=near,
        mismatched=comparison.mismatched,
        mirror=comparison.mirror,
        p1=quoted(comparison.mirror_key[0]),
        # A row that is marked as deleted, or does not meet `where`, also prevents an insert.
        crm=comparison.crm,
        keys=", ".join(f"t.{quoted(name)} as k{n}" for n, name in enumerate(keys, 1)),
        of_row=", ".join(f"t.k{n}" for n, _ in enumerate(keys, 1)),
        theirs=", ".join(f"r.{quoted(mirror)}::text as a{n}" for n, mirror in enumerate(pairs.values(), 1)),
        ours=", ".join(f"t.{quoted(crm)}::text as a{n}" for n, crm in enumerate(pairs, 1)),
        open=" and ".join(join.is_open("t") for join in comparison.joins),
        normal=" and ".join(f"{normal_key(f'm.a{n}')} = {normal_key(f't.a{n}')}" for n in numbers),
        ids=" and ".join(f"left(m.a{n}, 15) = left(t.a{n}, 15)" for n in numbers),
        equal=" and ".join(f"m.a{n} = t.a{n}" for n in numbers),
        longer=" and ".join(f"length(m.a{n}) + length(t.a{n}) = 33" for n in numbers),
    )
    connection.exec_driver_sql(statement, {"account": account})
    same = " and ".join(f"n.k{n} = o.k{n}" for n, _ in enumerate(keys, 1))
    of_record, of_row = (f"exists (select from {near} n where {one}" for one in ("n.p1 = o.p1", same))
    return NearAdopted(
        record=f"{of_record})",
        why=f"case when {of_record} and n.is_equal) then {literal(NOT_ONE_TO_ONE)}"
        f" else {literal(OTHER_SPELLING)} end",
        row=f"when {of_row} and n.is_equal) then {literal(NOT_ONE_TO_ONE)}"
        f" when {of_row}) then {literal(NEAR_RECORD)}",
    )
