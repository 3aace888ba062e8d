"""The comparison of one mapped table as SQL: which rows are mismatched, told without looking at fields.

Rows that are exactly alike are dropped by one row-wise ``is distinct from`` over a join on the keys, which
PostgreSQL does as a merge join of two primary keys. What remains is small, and lies in a temporary table
(``mismatched``, :mod:`enerflo_sync.reconcile.mismatched`) in which the fields are told apart and judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.mapping import MIRROR_TABLES, Mode, RecordKind, TableMapping, Unlinked, mirror_type
from enerflo_sync.crm.names import jsonb_object, quoted, relation
from enerflo_sync.crm.where import met_by, rows_where
from enerflo_sync.reconcile.join_columns import JoinColumn, join_column
from enerflo_sync.reconcile.values import Field, crm_raw, field_sql, is_marked, mirror_kind, moment
from enerflo_sync.reconcile.wide import ambiguous, install_rows, milestones_of, observed_at
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata

_HASHES = {
    "bigint": "hashint8extended",
    "numeric": "hash_numeric_extended",
    "double precision": "hashfloat8extended",
    "text": "hashtextextended",
}


@dataclass(frozen=True)
class Comparison:
    """One mapped table, ready to be compared.

    :param name: what ``sync.yaml`` calls it, and all that is stored about it.
    :param kind: of which records of Enerflo its rows are.
    :param moved_by: the column by which CRM rows that changed are found; None: by the transaction that wrote
        them, or by kept hashes (:attr:`keeps_hashes`).
    :param hidden: by CRM column with personal data, the condition that a row ``t`` is of a customer who was
        forgotten: the mirror has no value there, and the CRM's is not read.
    :param meanings: by field what it stands for (:mod:`enerflo_sync.reconcile.meanings`).
    :param remeant: the fields that stood for something else when their agreed values were stored.
    """

    name: str
    kind: str
    mapping: TableMapping
    live: LiveTable
    joins: Sequence[JoinColumn]
    fields: Sequence[Field]
    mirror_key: Sequence[str]
    mirror_has_install: bool
    crm_unique: bool
    mirror_unique: bool
    updated_at: str | None
    mode: Mode
    moved_by: str | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)
    meanings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remeant: frozenset[str] = frozenset()

    @property
    def keeps_hashes(self) -> bool:
        """Return whether only hashes of all CRM rows tell which of them changed."""
        return self.moved_by is None and self.live.heap is None

    @property
    def hands_over(self) -> bool:
        """Return whether changes of the CRM are handed over, since the table is only a copy (write_to)."""
        return self.mapping.handed_to is not None

    @property
    def is_installs(self) -> bool:
        """Return whether the rows are installs, and not something that belongs to one."""
        return self.kind == RecordKind.INSTALLS

    @property
    def is_wide(self) -> bool:
        """Return whether the rows are installs, whose columns are fields of their milestones."""
        return self.mapping.is_wide

    @property
    def unique(self) -> bool:
        """Return whether no two rows of either side can have the same join key."""
        return self.crm_unique and self.mirror_unique

    @property
    def may_be_loose(self) -> bool:
        """Return whether the CRM may hold rows without a join key."""
        return any(join.may_be_null for join in self.joins)

    @property
    def compares_loose(self) -> bool:
        """Return whether the CRM may hold rows without a join key that are compared all the same."""
        return self.may_be_loose and self.mapping.unlinked is Unlinked.REPORT

    @property
    def links(self) -> Sequence[JoinColumn]:
        """Return the pairs of columns that tell a row's record beside what its key says by itself.

        A key that may be spelled in several ways says it as a link does.
        """
        keys = self.mapping.key_columns
        return [join for join in self.joins if join.crm_name not in keys or join.varies]

    @property
    def mismatched(self) -> str:
        """Return the temporary table of the rows that are not exactly alike."""
        return f"pg_temp.mismatched_{self.name}"

    @property
    def wanted(self) -> str:
        """Return the temporary table of the join keys that an incremental run looks at."""
        return f"pg_temp.wanted_{self.name}"

    def value(self, column: str) -> str:
        """Return a column of a CRM row ``t`` as it may be read: null where it is :attr:`hidden`."""
        plain = f"t.{quoted(column)}"
        if column not in self.hidden:
            return plain
        return f"(case when not ({self.hidden[column]}) then {plain} end)"

    def moved(self, side: str) -> str:
        """Return the temporary table of the rows of ``mirror`` or ``crm`` that were seen to move."""
        return f"pg_temp.moved_{side}_{self.name}"

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
        """Return the mirror's records as a relation to read from; of a wide table the installs.

        It has the columns of the key, the times, and :attr:`Field.mirror_column` of each field.
        """
        if self.is_wide:
            return install_rows(self.fields)
        return self.mirror_table

    @property
    def mirror_table(self) -> str:
        """Return the mirror's table that has a row for each record, as it is written in SQL."""
        return quoted(MIRROR_SCHEMA, MIRROR_TABLES[self.mapping.key_kind(self.kind)])

    @property
    def mirror_source(self) -> str:
        """Return what a select of all fields reads from: the mirror's rows ``e``, and what is joined."""
        if self.is_wide:
            return f"enerflo.installs e cross join lateral {milestones_of(self.fields, 'e')} w"
        return f"{self.mirror} e"

    @property
    def observed_at(self) -> str:
        """Return when the content of a row of :attr:`mirror_source` was first seen."""
        return observed_at("w", "e") if self.is_wide else "e.observed_at"

    @property
    def crm(self) -> str:
        """Return the CRM table as it is written in SQL."""
        return quoted(self.live.schema, self.live.name)

    @property
    def crm_rows(self) -> str:
        """Return the CRM's rows as a relation to read from: those that meet ``where`` and are not deleted.

        :attr:`crm` is the table itself: what is written, and where a key may be taken by another row.
        """
        if not self.mapping.deleted_when and self.mapping.condition is None and not self.hidden:
            return self.crm
        living = self.living("t")
        return rows_where(self.mapping.condition, self.live, living, xmin=True, hidden=self.hidden)

    def living(self, alias: str) -> str:
        """Return the condition that a CRM row is not marked as deleted; never null."""
        marks = [
            f"({is_marked(f'{alias}.{quoted(column)}', self.live.columns[column], value)}) is not true"
            for column, value in self.mapping.deleted_when.items()
        ]
        return " and ".join(marks) or "true"

    def inside(self, alias: str) -> str:
        """Return the condition that a CRM row meets ``where``; never null."""
        return "true" if self.mapping.condition is None else met_by(self.mapping.condition, self.live, alias)

    def counts(self, alias: str) -> str:
        """Return the condition that a CRM row is among :attr:`crm_rows`; never null."""
        conditions = [one for one in (self.living(alias), self.inside(alias)) if one != "true"]
        return " and ".join(conditions) or "true"

    def marked_deleted(self, alias: str) -> str:
        """Return the condition that the CRM has a row marked as deleted for the join key of ``alias``."""
        if not self.mapping.deleted_when:
            return "false"
        return f"exists (select from {self.crm} t where {self._same_key(alias)} and not ({self.living('t')}))"

    @property
    def rows_outside(self) -> str:
        """Return the CRM's rows that do not meet ``where`` as a relation to read from."""
        return rows_where(self.mapping.condition, self.live, self.living("t"), outside=True)

    def stands_outside(self, alias: str) -> str:
        """Return the condition that a row for the join key of ``alias`` stands outside ``where``."""
        if self.mapping.condition is None:
            return "false"
        return f"exists (select from {self.rows_outside} t where {self._same_key(alias)})"

    def _same_key(self, alias: str) -> str:
        pairs = enumerate(self.joins, 1)
        return " and ".join(f"({join.crm})::{join.type} = {alias}.j{n}" for n, join in pairs)

    @property
    def mirror_rows(self) -> str:
        """Return the condition that chooses the account's rows of the mirror ``e`` that can be matched."""
        known = [f"{j.mirror} is not null" for j in self.joins if j.mirror_name not in self.mirror_key]
        return " and ".join(["e.account = %(account)s", *known])

    @property
    def crm_key_known(self) -> str:
        """Return the condition that a CRM row ``t`` can be matched at all."""
        return " and ".join(f"{j.crm} is not null" for j in self.joins)

    def changed_at(self, alias: str) -> str:
        """Return the CRM row's last change as timestamptz; null where the table has none."""
        if self.updated_at is None:
            return "null::timestamptz"
        kind = self.live.columns[self.updated_at].kind
        return moment(f"{alias}.{quoted(self.updated_at)}", kind, self.mapping.time_zone)

    @property
    def comparable(self) -> str:
        """Return the condition that a row ``o`` of ``mismatched`` is mismatched, and has a key of its own."""
        if self.unique:
            return "o.is_mismatched"
        return f"o.is_mismatched and not exists (select from {self.twice} d where {self.on('d', 'o')})"

    def crm_key(self, columns: Iterable[str]) -> str:
        """Return the jsonb key of a CRM row whose key columns are these expressions, in their order."""
        named = zip(self.mapping.key_columns, columns, strict=True)
        return jsonb_object((name, crm_raw(value, self.live.columns[name])) for name, value in named)

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

    @property
    def key_is_record(self) -> bool:
        """Return whether the CRM's key is the id of Enerflo's record, so that no other can have its pairs."""
        one_spelling = not any(join.varies for join in self.joins)
        return self.mapping.joined_by_key and self.mirror_unique and one_spelling

    def record_key(self, alias: str) -> str:
        """Return what a pair of values remembers of its record, as JSON: the mirror's key, ``alias.p1…``.

        Null where the CRM's key says as much.
        """
        if self.key_is_record:
            return "null::jsonb"
        return jsonb_object((name, f"{alias}.p{n}") for n, name in enumerate(self.mirror_key, 1))

    def of_record(self, pair: str, record_key: str) -> str:
        """Return ``and …``: the pair ``pair`` of ``sync.agreed`` is about that record; or ``""``."""
        return "" if self.key_is_record else f" and {pair}.enerflo_key = {record_key}"

    def on(self, left: str, right: str) -> str:
        """Return the condition that two relations with ``j1, j2 …`` have the same join key."""
        return " and ".join(f"{left}.j{n} = {right}.j{n}" for n, _ in enumerate(self.joins, 1))

    def key_digest(self, columns: Sequence[str]) -> str:
        """Return the hash of a join key whose columns are these expressions; null where one of them is.

        Equal keys of either side have one hash, so sums of hashes tell whether two sets of keys are alike.
        """
        found = "0"
        for join, column in zip(self.joins, columns, strict=True):
            value = f'{column} collate "C"' if join.type == "text" else column
            found = f"{_HASHES[join.type]}({value}, {found})"
        return found

    def owner_names(self) -> list[str]:
        """Return the mirror's key columns as ``mismatched`` holds them, ``p1, p2 …``."""
        return [f"p{n}" for n, _ in enumerate(self.mirror_key, 1)]


def plan_comparison(
    name: str, mapping: TableMapping, live: LiveTable, *, fold: str, mode: Mode, proven: bool = False
) -> Comparison:
    """Return the comparison of one table whose mapping was checked against the live catalog.

    :param fold: the collation whose case rules apply, quoted, or ``""`` for the database's own.
    :param mode: which side of the table may be written.
    :param proven: an index proves that no two rows of the CRM have one key, however that is spelled.
    """
    kind = mapping.kind(name)
    # Of a wide table a record is an install, and only the fields are the milestones'.
    of_key = mapping.key_kind(name)
    declared = metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[of_key]}"]
    joins = [
        join_column(
            crm,
            mirror,
            mirror_type(of_key, mapping, mirror),
            live.columns[crm],
            mapping.key_options(crm),
            fold,
        )
        for crm, mirror in mapping.join_columns.items()
    ]
    fields = [
        field_sql(
            column,
            one,
            (f"e{n}", mirror_kind(mirror_type(kind, mapping, one.enerflo))),
            (f"c{n}", live.columns[column]),
            table_zone=mapping.time_zone,
            fold=fold,
            mirror_column=f"w{n}" if mapping.is_wide else one.enerflo,
            ambiguous=ambiguous(n) if mapping.is_wide else "",
        )
        for n, (column, one) in enumerate(mapping.fields.items(), 1)
    ]
    updated_at = _time_column(mapping.updated_at, live)
    mirror_key = [key.name for key in declared.primary_key.columns if key.name != "account"]
    return Comparison(
        name=name,
        kind=kind,
        mapping=mapping,
        live=live,
        joins=joins,
        fields=fields,
        mirror_key=mirror_key,
        mirror_has_install="install_id" in declared.c,
        crm_unique=proven
        or (live.unique_by([join.crm_name for join in joins]) and not any(join.varies for join in joins)),
        mirror_unique=set(mirror_key) <= {join.mirror_name for join in joins},
        updated_at=updated_at,
        mode=mode,
        moved_by=_time_column(mapping.arrived_at, live)
        or (updated_at if mapping.updated_at_set_at_commit else None),
    )


def _time_column(name: str | None, live: LiveTable) -> str | None:
    column = live.columns.get(name or "")
    return column.name if column is not None and column.kind.is_time else None


def full_name(mapping: TableMapping) -> str:
    """Return the CRM table as people write it."""
    return ".".join(relation(mapping.crm_table))
