"""The comparison of one mapped table as SQL: find the mismatched rows before any field is compared.

One row-wise ``is distinct from`` over a join on the keys drops rows that are exactly alike. PostgreSQL does
this as a merge join of two primary keys. The few remaining rows go to a temporary table (``mismatched``,
:mod:`enerflo_sync.reconcile.mismatched`), where their fields are compared and judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.mapping import MIRROR_TABLES, Mode, RecordKind, TableMapping, Unlinked, mirror_type
from enerflo_sync.crm.names import jsonb_object, literal, quoted, relation
from enerflo_sync.crm.where import met_by, rows_where
from enerflo_sync.reconcile.join_columns import JoinColumn, join_column
from enerflo_sync.reconcile.related import Relative, Sibling
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

    :param name: the table's name in ``sync.yaml``, by which everything about it is stored.
    :param kind: the kind of Enerflo's records that its rows are.
    :param moved_by: the column that shows which CRM rows changed; None: the transaction that wrote a row
        shows it, or kept hashes do (:attr:`keeps_hashes`).
    :param hidden: by CRM column with personal data, the condition that a row ``t`` belongs to a forgotten
        customer. The mirror has no value there, so the CRM's value is not read.
    :param meanings: by field, what it is mapped to and how it is read
        (:mod:`enerflo_sync.reconcile.meanings`).
    :param remeant: the fields that were mapped otherwise when their agreed values were stored.
    :param siblings: the account's other tables that map the same CRM table, by name.
    :param relatives: those that map another CRM table to the same kind of records, by name.
    :param former_rows: this table, whose row of a record may have got another key; None if the record's id
        is the key.
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
    siblings: Mapping[str, Sibling] = field(default_factory=dict)
    relatives: Mapping[str, Relative] = field(default_factory=dict)
    former_rows: Relative | None = None

    @property
    def keeps_hashes(self) -> bool:
        """Return whether changed CRM rows can only be found by kept hashes of all rows."""
        return self.moved_by is None and self.live.heap is None

    @property
    def hands_over(self) -> bool:
        """Return whether the table is only a copy, so that changes are handed over (``write_to``)."""
        return self.mapping.handed_to is not None

    @property
    def is_installs(self) -> bool:
        """Return whether the rows are installs, not records that belong to one."""
        return self.kind == RecordKind.INSTALLS

    @property
    def is_wide(self) -> bool:
        """Return whether the rows are installs, whose columns are fields of their milestones."""
        return self.mapping.is_wide

    @property
    def goes_by_time(self) -> bool:
        """Return whether a field takes the value of the side that changed later, by the rows' own time."""
        return self.updated_at is not None and self.mapping.goes_by_time

    @property
    def earlier(self) -> Mapping[str, Relative]:
        """Return the tables in which the record of a row may have had another row before, by name."""
        return self.relatives if self.former_rows is None else {**self.relatives, self.name: self.former_rows}

    @property
    def names_of_table(self) -> str:
        """Return the names under which values of this CRM table are stored, as an SQL list."""
        return ", ".join(map(literal, (self.name, *self.siblings)))

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
        """Return whether CRM rows without a join key are compared, too."""
        return self.may_be_loose and self.mapping.unlinked is Unlinked.REPORT

    @property
    def links(self) -> Sequence[JoinColumn]:
        """Return the pairs of columns that name a row's record without being an exact part of the row's key.

        A key column that can be spelled in several ways counts as a link.
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
        """Return the temporary table of the rows of ``mirror`` or ``crm`` that are known to have changed."""
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
        """Return the mirror's records as a relation to select from; for a wide table, the installs.

        It has the columns of the key, the times, and :attr:`Field.mirror_column` of each field.
        """
        if self.is_wide:
            return install_rows(self.fields)
        return self.mirror_table

    @property
    def mirror_table(self) -> str:
        """Return the SQL name of the mirror's table with one row per record."""
        return quoted(MIRROR_SCHEMA, MIRROR_TABLES[self.mapping.key_kind(self.kind)])

    @property
    def mirror_source(self) -> str:
        """Return the ``from`` part that has all fields: the mirror's rows ``e`` and their joins."""
        if self.is_wide:
            return f"enerflo.installs e cross join lateral {milestones_of(self.fields, 'e')} w"
        return f"{self.mirror} e"

    @property
    def observed_at(self) -> str:
        """Return when the content of a row of :attr:`mirror_source` was first seen."""
        return observed_at("w", "e") if self.is_wide else "e.observed_at"

    @property
    def crm(self) -> str:
        """Return the SQL name of the CRM table."""
        return quoted(self.live.schema, self.live.name)

    @property
    def crm_rows(self) -> str:
        """Return the CRM's rows as a relation to select from: rows that meet ``where`` and are not deleted.

        Use :attr:`crm`, the whole table, to write a row, or to ask whether any row has a key.
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
        """Return the condition that a CRM row is in :attr:`crm_rows`; never null."""
        conditions = [one for one in (self.living(alias), self.inside(alias)) if one != "true"]
        return " and ".join(conditions) or "true"

    def marked_deleted(self, alias: str) -> str:
        """Return the condition that the CRM has a row marked as deleted for the join key of ``alias``."""
        if not self.mapping.deleted_when:
            return "false"
        return f"exists (select from {self.crm} t where {self._same_key(alias)} and not ({self.living('t')}))"

    @property
    def rows_outside(self) -> str:
        """Return the CRM's rows that do not meet ``where`` as a relation to select from."""
        return rows_where(self.mapping.condition, self.live, self.living("t"), outside=True)

    def stands_outside(self, alias: str) -> str:
        """Return the condition that the CRM's row for the join key of ``alias`` does not meet ``where``."""
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
        """Return the condition that a CRM row ``t`` has a join key."""
        return " and ".join(f"{j.crm} is not null" for j in self.joins)

    def changed_at(self, alias: str) -> str:
        """Return the CRM row's own time of change as timestamptz; null if the table has none."""
        if self.updated_at is None:
            return "null::timestamptz"
        kind = self.live.columns[self.updated_at].kind
        return moment(f"{alias}.{quoted(self.updated_at)}", kind, self.mapping.time_zone)

    @property
    def comparable(self) -> str:
        """Return the condition that a row ``o`` of ``mismatched`` differs and is the only one of its key."""
        if self.unique:
            return "o.is_mismatched"
        return f"o.is_mismatched and not exists (select from {self.twice} d where {self.on('d', 'o')})"

    @property
    def empty_key_columns(self) -> Sequence[str]:
        """Return the columns of the CRM's own key that may be null; none where the key is what is matched."""
        if self.mapping.joined_by_key:
            return ()
        return [name for name in self.mapping.key_columns if not self.live.columns[name].not_null]

    def crm_key(self, columns: Iterable[str]) -> str:
        """Return the jsonb key of a CRM row from expressions of its key columns, in their order."""
        named = zip(self.mapping.key_columns, columns, strict=True)
        return jsonb_object((name, crm_raw(value, self.live.columns[name])) for name, value in named)

    def join_names(self, alias: str = "") -> str:
        """Return ``j1, j2 …``, the names of the join key's columns in the temporary tables."""
        prefix = f"{alias}." if alias else ""
        return ", ".join(f"{prefix}j{n}" for n, _ in enumerate(self.joins, 1))

    def select_join(self, side: str) -> str:
        """Return the join key of ``mirror`` or ``crm`` as select list, in the same types on both sides."""
        return ", ".join(
            f"({j.mirror if side == 'mirror' else j.crm})::{j.type} as j{n}"
            for n, j in enumerate(self.joins, 1)
        )

    @property
    def key_is_record(self) -> bool:
        """Return whether the CRM's key is the id of Enerflo's record, which alone names the record."""
        one_spelling = not any(join.varies for join in self.joins)
        return self.mapping.joined_by_key and self.mirror_unique and one_spelling

    def record_key(self, alias: str) -> str:
        """Return the mirror's key of the record as JSON, from ``alias.p1…``, to store with a pair.

        Null if the CRM's key already names the record.
        """
        return "null::jsonb" if self.key_is_record else self.record_of(alias)

    def record_of(self, alias: str) -> str:
        """Return the mirror's key of the record as JSON, from ``alias.p1…``."""
        return jsonb_object((name, f"{alias}.p{n}") for n, name in enumerate(self.mirror_key, 1))

    def of_record(self, pair: str, record_key: str) -> str:
        """Return ``and …``: the agreed pair ``pair`` is about this record; ``""`` if its key tells."""
        return "" if self.key_is_record else f" and {pair}.enerflo_key = {record_key}"

    def on(self, left: str, right: str) -> str:
        """Return the condition that two relations with ``j1, j2 …`` have the same join key."""
        return " and ".join(f"{left}.j{n} = {right}.j{n}" for n, _ in enumerate(self.joins, 1))

    def key_digest(self, columns: Sequence[str]) -> str:
        """Return the hash of a join key from expressions of its columns; null if one of them is null.

        Equal keys have equal hashes on both sides, so sums of hashes show whether two sets of keys are equal.
        """
        found = "0"
        for join, column in zip(self.joins, columns, strict=True):
            value = f'{column} collate "C"' if join.type == "text" else column
            found = f"{_HASHES[join.type]}({value}, {found})"
        return found

    def owner_names(self) -> list[str]:
        """Return the names of the mirror's key columns in ``mismatched``: ``p1, p2 …``."""
        return [f"p{n}" for n, _ in enumerate(self.mirror_key, 1)]


def plan_comparison(
    name: str, mapping: TableMapping, live: LiveTable, *, fold: str, mode: Mode, proven: bool = False
) -> Comparison:
    """Return the comparison of one table whose mapping was checked against the live catalog.

    :param fold: the collation whose case rules apply, quoted, or ``""`` for the database's own.
    :param mode: which side of the table may be written.
    :param proven: an index proves that no two rows of the CRM have the same key, however it is spelled.
    """
    kind = mapping.kind(name)
    # In a wide table each row is an install, while the fields are those of its milestones.
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
            number=n,
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
