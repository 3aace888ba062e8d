"""The comparison of one mapped table as SQL: which rows are odd, found without looking at single fields.

Rows that are exactly alike are dropped by one row-wise ``is distinct from`` over a join on the keys, which
PostgreSQL does as a merge join of two primary keys. What remains is small, and lies in a temporary table
(``odd``) in which the fields are told apart and judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveTable
from enerflo_sync.crm.mapping import MIRROR_TABLES, TableMapping, TableName
from enerflo_sync.crm.names import literal, quoted, relation
from enerflo_sync.reconcile.values import WHOLE_TEXT, Field, field_sql, mirror_kind, moment
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata


@dataclass(frozen=True)
class JoinColumn:
    """One pair of columns by which rows are matched, in SQL type ``type``.

    ``mirror`` and ``crm`` are expressions over the tables' aliases ``e`` and ``t``.
    """

    mirror_name: str
    crm_name: str
    crm_kind: Kind
    type: str
    mirror: str
    crm: str


@dataclass(frozen=True)
class Comparison:
    """One mapped table, ready to be compared."""

    name: TableName
    mapping: TableMapping
    live: LiveTable
    joins: Sequence[JoinColumn]
    fields: Sequence[Field]
    mirror_key: Sequence[str]
    mirror_has_install: bool
    crm_unique: bool
    mirror_unique: bool
    updated_at: str | None

    @property
    def is_installs(self) -> bool:
        """Return whether the rows are installs, and not something that belongs to one."""
        return self.name is TableName.INSTALLS

    @property
    def unique(self) -> bool:
        """Return whether no two rows of either side can have the same join key."""
        return self.crm_unique and self.mirror_unique

    @property
    def may_be_loose(self) -> bool:
        """Return whether the CRM may hold rows without a join key."""
        return not all(self.live.columns[join.crm_name].not_null for join in self.joins)

    @property
    def odd(self) -> str:
        """Return the temporary table of the rows that are not exactly alike."""
        return f"pg_temp.odd_{self.name}"

    @property
    def wanted(self) -> str:
        """Return the temporary table of the join keys that an incremental run looks at."""
        return f"pg_temp.wanted_{self.name}"

    @property
    def lost(self) -> str:
        """Return the temporary table of further keys that only one side has."""
        return f"pg_temp.lost_{self.name}"

    @property
    def twice(self) -> str:
        """Return the temporary table of the join keys that more than one row has."""
        return f"pg_temp.twice_{self.name}"

    @property
    def mirror(self) -> str:
        """Return the mirror table as it is written in SQL."""
        return quoted(MIRROR_SCHEMA, MIRROR_TABLES[self.name])

    @property
    def crm(self) -> str:
        """Return the CRM table as it is written in SQL."""
        return quoted(self.live.schema, self.live.name)

    @property
    def mirror_rows(self) -> str:
        """Return the condition that chooses the account's rows of the mirror ``e`` that can be matched."""
        known = [
            f"e.{quoted(j.mirror_name)} is not null"
            for j in self.joins
            if j.mirror_name not in self.mirror_key
        ]
        return " and ".join(["e.account = %(account)s", *known])

    @property
    def crm_key_known(self) -> str:
        """Return the condition that a CRM row ``t`` can be matched at all."""
        return " and ".join(f"t.{quoted(j.crm_name)} is not null" for j in self.joins)

    def changed_at(self, alias: str) -> str:
        """Return the CRM row's last change as timestamptz; null where the table has none."""
        if self.updated_at is None:
            return "null::timestamptz"
        kind = self.live.columns[self.updated_at].kind
        return moment(f"{alias}.{quoted(self.updated_at)}", kind, self.mapping.time_zone)

    @property
    def comparable(self) -> str:
        """Return the condition that a row ``o`` of ``odd`` is odd, and has a key of its own."""
        if self.unique:
            return "o.is_odd"
        return f"o.is_odd and not exists (select from {self.twice} d where {self.on('d', 'o')})"

    def join_names(self, alias: str = "") -> str:
        """Return ``j1, j2 …``, the join key as the temporary tables have it."""
        prefix = f"{alias}." if alias else ""
        return ", ".join(f"{prefix}j{n}" for n, _ in enumerate(self.joins, 1))

    def select_join(self, side: str) -> str:
        """Return the join key of ``mirror`` or ``crm`` as select list, typed alike on both sides."""
        return ", ".join(
            f"({j.mirror if side == 'mirror' else j.crm})::{j.type} as j{n}"
            for n, j in enumerate(self.joins, 1)
        )

    def on(self, left: str, right: str) -> str:
        """Return the condition that two relations with ``j1, j2 …`` have the same join key."""
        return " and ".join(f"{left}.j{n} = {right}.j{n}" for n, _ in enumerate(self.joins, 1))

    def owner_names(self) -> list[str]:
        """Return the mirror's key columns as ``odd`` holds them, ``p1, p2 …``."""
        return [f"p{n}" for n, _ in enumerate(self.mirror_key, 1)]


def plan_comparison(name: TableName, mapping: TableMapping, live: LiveTable, *, fold: str) -> Comparison:
    """Return the comparison of one table whose mapping was checked against the live catalog.

    :param fold: the collation whose case rules apply, quoted, or ``""`` for the database's own.
    """
    declared = metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[name]}"]
    joins = [
        _join_column(crm, mirror, declared.c[mirror].type, live.columns[crm].kind)
        for crm, mirror in mapping.join_columns.items()
    ]
    fields = [
        field_sql(
            column,
            field,
            (f"e{n}", mirror_kind(declared.c[field.enerflo].type)),
            (f"c{n}", live.columns[column]),
            table_zone=mapping.time_zone,
            fold=fold,
        )
        for n, (column, field) in enumerate(mapping.fields.items(), 1)
    ]
    column = live.columns.get(mapping.updated_at or "")
    mirror_key = [key.name for key in declared.primary_key.columns if key.name != "account"]
    return Comparison(
        name=name,
        mapping=mapping,
        live=live,
        joins=joins,
        fields=fields,
        mirror_key=mirror_key,
        mirror_has_install="install_id" in declared.c,
        crm_unique=live.unique_by([join.crm_name for join in joins]),
        mirror_unique=set(mirror_key) <= {join.mirror_name for join in joins},
        updated_at=column.name if column is not None and column.kind.is_time else None,
    )


def _join_column(crm: str, mirror: str, column: sa.types.TypeEngine[Any], kind: Kind) -> JoinColumn:
    mine, theirs = f"e.{quoted(mirror)}", f"t.{quoted(crm)}"
    if mirror_kind(column) is Kind.INTEGER and kind in {Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT}:
        common = {Kind.INTEGER: "bigint", Kind.DECIMAL: "numeric", Kind.FLOAT: "double precision"}[kind]
    else:
        common = "text"
    return JoinColumn(mirror, crm, kind, common, mine, theirs)


# Without a cast where there is none to make, so that the primary keys' order serves the join.
_MIRROR_SIDE = """select $join, $values, $key, $owner$status, e.observed_at, e.deleted_at is null as lives,
    true as here from $mirror e where $rows"""
_CRM_SIDE = """select $join, $values, $key, $owner, $changed as changed_at, true as here from $crm t"""

_STATUS = {"install_status_id": "status_id", "install_status_name": "status_name"}

_ODD_OF_ALL = Template("""
/* enerflo-sync reconcile $name: rows that are not exactly alike, of all */
create temporary table $odd on commit drop as
select $columns, true as is_odd
from ($mirror_side) m full join ($crm_side) c on $on
where $is_odd
""")

# All wanted rows are kept, since their number tells whether the others still pair off.
_ODD_OF_WANTED = Template("""
/* enerflo-sync reconcile $name: rows of the $wanted keys */
$into
select $columns, $is_odd as is_odd
from $wanted w
left join ($mirror_side) m on $on_mirror
left join ($crm_side) c on $on_crm
where m.here or c.here
$loose
""")

_LOOSE = Template("""union all
select $columns, true as is_odd
from ($crm_side) c left join ($mirror_side and false) m on true
where $unmatchable""")

_TWICE = Template("""
/* enerflo-sync reconcile $name: join keys that more than one row has */
create temporary table $twice on commit drop as
$selects
""")

_TWICE_ON_ONE_SIDE = Template("""select $joins from (
  select $keys from $table where $rows
) k $wanted group by $joins having count(*) > 1""")


def twice_statement(plan: Comparison, *, wanted_only: bool) -> str:
    """Return the statement that fills ``twice``; takes ``account``. What an index proves is left out."""
    wanted = f"join {plan.wanted} w using ({plan.join_names()})" if wanted_only else ""
    common = {"joins": plan.join_names(), "wanted": wanted}
    selects = []
    if not plan.crm_unique:
        keys, rows = plan.select_join("crm"), plan.crm_key_known
        selects.append(_TWICE_ON_ONE_SIDE.substitute(common, keys=keys, rows=rows, table=f"{plan.crm} t"))
    if not plan.mirror_unique:
        keys, rows = plan.select_join("mirror"), f"{plan.mirror_rows} and e.deleted_at is null"
        selects.append(_TWICE_ON_ONE_SIDE.substitute(common, keys=keys, rows=rows, table=f"{plan.mirror} e"))
    return _TWICE.substitute(name=plan.name, twice=plan.twice, selects="\nunion\n".join(selects))


def odd_statement(plan: Comparison) -> str:
    """Return the statement that fills ``odd`` from all rows; it takes the parameter ``account``.

    Columns: ``j1…`` join key, ``k1…`` the CRM row's key, ``p1…`` the mirror's key, ``owner`` the install,
    ``e1…`` and ``c1…`` the raw values, ``in_enerflo`` and ``in_crm``, ``tombstone``, ``observed_at`` and
    ``changed_at``, ``is_odd``; for installs their status in Enerflo.
    """
    return _ODD_OF_ALL.substitute(_odd_parts(plan), on=plan.on("m", "c"))


def wanted_odd_statement(plan: Comparison, *, keys: str, first: bool) -> str:
    """Return the statement that fills ``odd`` from the rows of the join keys in the table ``keys``.

    :param first: it makes the table, and takes the CRM rows without a join key too.
    """
    parts = _odd_parts(plan)
    unmatchable = " or ".join(f"c.j{n} is null" for n, _ in enumerate(plan.joins, 1))
    loose = _LOOSE.substitute(parts, unmatchable=unmatchable) if first and plan.may_be_loose else ""
    into = f"create temporary table {plan.odd} on commit drop as" if first else f"insert into {plan.odd}"
    on = {"on_mirror": plan.on("m", "w"), "on_crm": plan.on("c", "w")}
    return _ODD_OF_WANTED.substitute(parts, wanted=keys, into=into, loose=loose, **on)


def _odd_parts(plan: Comparison) -> dict[str, str]:
    alike = [pair for field in plan.fields for pair in field.pairs]
    mine, theirs = (", ".join(pair[side] for pair in alike) for side in (0, 1))
    one_sided = (
        "(m.lives is null or not m.lives or c.here is null) and (coalesce(m.lives, false) or c.here is true)"
    )
    differing = f"m.lives and c.here and row({mine}) is distinct from row({theirs})"
    return {
        "name": plan.name,
        "odd": plan.odd,
        "columns": _odd_columns(plan),
        "is_odd": f"coalesce(({one_sided}) or ({differing}), false)",
        "mirror_side": _mirror_side(plan),
        "crm_side": _crm_side(plan),
    }


def _odd_columns(plan: Comparison) -> str:
    keys = range(1, len(plan.mapping.key_columns) + 1)
    fields = range(1, len(plan.fields) + 1)
    return ", ".join(
        [
            *(f"coalesce(m.j{n}, c.j{n}) as j{n}" for n, _ in enumerate(plan.joins, 1)),
            *(f"c.k{n}" for n in keys),
            *(f"coalesce(m.p{n}, c.p{n}) as p{n}" for n, _ in enumerate(plan.mirror_key, 1)),
            "coalesce(m.owner, c.owner) as owner",
            *(f"m.e{n}" for n in fields),
            *(f"c.c{n}" for n in fields),
            "coalesce(m.lives, false) as in_enerflo",
            "coalesce(c.here, false) as in_crm",
            "coalesce(not m.lives, false) as tombstone",
            *(f"m.{name}" for name in _STATUS if plan.is_installs),
            "m.observed_at",
            "c.changed_at",
        ]
    )


def _mirror_side(plan: Comparison) -> str:
    owner = "e.install_id" if plan.mirror_has_install else "null::bigint"
    return Template(_MIRROR_SIDE).substitute(
        join=", ".join(
            f"{j.mirror if j.type == 'bigint' else f'{j.mirror}::{j.type}'} as j{n}"
            for n, j in enumerate(plan.joins, 1)
        ),
        values=", ".join(
            f"e.{quoted(field.mapping.enerflo)} as e{n}" for n, field in enumerate(plan.fields, 1)
        ),
        key=", ".join(f"e.{quoted(column)} as p{n}" for n, column in enumerate(plan.mirror_key, 1)),
        owner=f"{owner} as owner",
        status="".join(f", e.{column} as {name}" for name, column in _STATUS.items() if plan.is_installs),
        mirror=plan.mirror,
        rows=plan.mirror_rows,
    )


def _crm_side(plan: Comparison) -> str:
    of_mirror = {join.mirror_name: join for join in plan.joins}
    owner = plan.mapping.install_column
    return Template(_CRM_SIDE).substitute(
        join=", ".join(
            f"{f'{j.crm}::text' if j.type == 'text' else j.crm} as j{n}" for n, j in enumerate(plan.joins, 1)
        ),
        values=", ".join(f"t.{quoted(field.name)} as c{n}" for n, field in enumerate(plan.fields, 1)),
        key=", ".join(
            [
                *(f"t.{quoted(column)} as k{n}" for n, column in enumerate(plan.mapping.key_columns, 1)),
                *(
                    f"{_whole(plan, of_mirror[column].crm_name if column in of_mirror else None)} as p{n}"
                    for n, column in enumerate(plan.mirror_key, 1)
                ),
            ]
        ),
        owner=f"{_whole(plan, owner)} as owner",
        changed=plan.changed_at("t"),
        crm=plan.crm,
    )


def _whole(plan: Comparison, column: str | None) -> str:
    """Return a CRM column as the bigint that Enerflo's ids are; null where it is none."""
    if column is None:
        return "null::bigint"
    raw = f"t.{quoted(column)}"
    match plan.live.columns[column].kind:
        case Kind.INTEGER:
            return f"{raw}::bigint"
        case Kind.DECIMAL | Kind.FLOAT:
            return f"(case when abs({raw}) < 1e18 and trunc({raw}::numeric) = {raw} then {raw}::bigint end)"
        case Kind.TEXT:
            return f"(case when {raw}::text ~ {literal(WHOLE_TEXT)} then {raw}::text::bigint end)"
        case _:
            return "null::bigint"


def full_name(mapping: TableMapping) -> str:
    """Return the CRM table as people write it."""
    return ".".join(relation(mapping.crm_table))
