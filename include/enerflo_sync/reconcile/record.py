"""Find one record by the name that a person types: its rows on both sides, and their present values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from string import Template
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from enerflo_sync.crm.mapping import MIRROR_TABLES, TableMapping
from enerflo_sync.crm.names import jsonb_object, quoted
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.join_columns import stored_join_key
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side

_BY_ENERFLO_ID = "enerflo:"

# Both sides of one record. The parameter says on which side the record is looked up first. Values are read as
# JSON alone: Python has no time without end, and none of the year 12000.
_RECORD = Template("""
/* enerflo-sync explain: one record of $name on both sides */
select count(*) over () as rows, o.here, o.crm_here, o.lives, o.owner, o.observed_at, o.changed_at,
       to_jsonb(array[$mine]::jsonb[]) as mine, to_jsonb(array[$theirs]::jsonb[]) as theirs,
       to_jsonb(array[$equal]) as equal,
       $crm_key as crm_key, $join_key as join_key, $enerflo_key as enerflo_key, $named_key as named_key,
       $outside as outside, o.crm_here is not true and $marked as marked
from (
  select m.*, c.here as crm_here, $changed_at as changed_at, $crm_columns from $sides
) o where o.here or o.crm_here limit 1
""")

_OBSERVED = Template("""
/* enerflo-sync explain: who saw a record of $name */
select observed_by from $mirror e where e.account = %(account)s and $on
""")

# A row that neither side has any more is found by the id that it had.
_KEY_BY_LINK = sa.text("""
/* enerflo-sync explain: the CRM row that named a record */
select key from sync.agreed
where account = :account and table_name = :table and not jsonb_exists(key, '')
  and link in (to_jsonb(cast(:value as bigint)), to_jsonb(cast(cast(:value as bigint) as text))) limit 1
""")

_RECORD_OF_KEY = sa.text("""
/* enerflo-sync explain: the record that a CRM row was */
select enerflo_key from sync.plan_changes
where account = :account and table_name = :table and key = cast(:key as jsonb) and enerflo_key is not null
order by done_at desc nulls last limit 1
""")

_KNOWN = sa.text("""
/* enerflo-sync explain: whether a key was ever heard of */
select exists (select from sync.ledger where account = :account and table_name = :table
               and key = any(cast(cast(:keys as text[]) as jsonb[])))
    or exists (select from sync.agreed where account = :account and table_name = :table
               and key = any(cast(cast(:keys as text[]) as jsonb[])))
""")


@dataclass(frozen=True)
class FoundRecord:
    """One record. Values are JSON, by the CRM column's name.

    :param keys: the keys that plans and the ledger use for the record; the CRM row's key first.
    :param named_key: the key of Enerflo that either side names, also if the mirror has no such record.
    :param install: the install that the record is or belongs to.
    :param outside: the CRM has a row of the record that does not meet ``where``, and no row that does.
    :param marked: the record's row is marked as deleted, so it counts as missing.
    """

    comparison: Comparison
    keys: Sequence[Mapping[str, Any]]
    enerflo_key: Mapping[str, Any] | None
    install: int | None
    crm_rows: int = 0
    in_enerflo: bool = False
    deleted: bool = False
    enerflo_values: Mapping[str, Any] | None = None
    crm_values: Mapping[str, Any] | None = None
    equal: Mapping[str, bool] | None = None
    named_key: Mapping[str, Any] | None = None
    observed_at: datetime | None = None
    observed_by: str | None = None
    changed_at: datetime | None = None
    outside: bool = False
    marked: bool = False

    @property
    def key_texts(self) -> list[str]:
        """Return the keys as JSON texts, for a statement."""
        return [json.dumps(key) for key in self.keys]


def singular(name: str) -> str:
    """Return the word for a record of a table or of a kind, as in ``change-order``."""
    return name.removesuffix("s").replace("_", "-")


# The values of a command's TABLE argument.
RECORD_WORDS = f"{', '.join(singular(kind) for kind in MIRROR_TABLES)}; or a table's name in sync.yaml."


def table_of(name: str, tables: Mapping[str, TableMapping]) -> str:
    """Return the table that a person names: by its name, its singular, or its kind if only one table has it.

    :raises ConfigurationError: no table has that name, or several tables are of that kind.
    """
    wanted = name.strip().lower().replace("_", "-")
    by_name = {singular(table): table for table in tables}
    by_name |= {table.replace("_", "-"): table for table in tables}
    if wanted in by_name:
        return by_name[wanted]
    kind = next((one for one in MIRROR_TABLES if wanted in (singular(one), one.replace("_", "-"))), None)
    if kind is None:
        words = dict.fromkeys(singular(one) for one in (*tables, *MIRROR_TABLES))
        raise ConfigurationError(
            f"there is no table {name!r}.", where="TABLE", next_step=f"Choose one of {', '.join(words)}."
        )
    found = [table for table, mapping in tables.items() if mapping.kind(table) == kind]
    if len(found) > 1:
        raise ConfigurationError(
            f"several tables are of {kind}.", where="TABLE", next_step=f"Choose one of {', '.join(found)}."
        )
    # The caller reports a kind that is not mapped.
    return found[0] if found else kind


def find_record(
    connection: sa.Connection, comparison: Comparison, account: str, singular: str, text: str
) -> FoundRecord:
    """Return the record that ``text`` names, in the caller's transaction.

    :param text: the values of the CRM's key, joined by ``/``; or ``enerflo:`` and the values of the mirror's
        key; or an install's deal uuid.
    :raises ConfigurationError: neither side has the record, and no plan or ledger entry names it.
    """
    search = _Search(connection, comparison, account, f"{singular} {text.strip()}")
    text = text.strip()
    if comparison.is_installs and _is_uuid(text):
        text = search.by_deal(text)
    if text.startswith(_BY_ENERFLO_ID):
        found = search.by_record(text.removeprefix(_BY_ENERFLO_ID))
    else:
        found = search.by_key(text)
    if found is None:
        raise search.unknown()
    return found


@dataclass(frozen=True)
class _Search:
    connection: sa.Connection
    comparison: Comparison
    account: str
    where: str

    def unknown(self) -> ConfigurationError:
        key = "/".join(self.comparison.mapping.key_columns)
        return ConfigurationError(
            "neither side has such a record, and nothing was ever recorded of it.",
            where=f"{self.where}, account {self.account}",
            next_step=f"Give the CRM's {key}, or {_BY_ENERFLO_ID}ID; run enerflo-sync poll if it is new.",
        )

    def by_deal(self, deal_id: str) -> str:
        query = sa.text(
            "select install_id from enerflo.installs where account = :account and deal_id = :deal"
        )
        found = self.connection.scalar(query, {"account": self.account, "deal": deal_id})
        if found is None:
            raise self.unknown()
        return f"{_BY_ENERFLO_ID}{found}"

    def by_key(self, text: str) -> FoundRecord | None:
        columns = self.comparison.mapping.key_columns
        parts = self._parts(text, columns)
        condition = " and ".join(
            f"c.k{n} = %(k{n})s::{self._crm_type(name)}" for n, name in enumerate(columns, 1)
        )
        values = {f"k{n}": part for n, part in enumerate(parts, 1)}
        found = self._look("crm", condition, values)
        if found is None and self.comparison.mapping.joined_by_key:
            joins = list(enumerate(self.comparison.joins, 1))
            same = {
                side: " and ".join(f"{side}.j{n} = {join.of_stored(f'%(k{n})s')}" for n, join in joins)
                for side in ("m", "c")
            }
            found = self._look("mirror", same["m"], values)
            if found is None and self.comparison.links:
                # The typed key spells the row's key differently.
                found = self._look("crm", same["c"], values)
        if found is None and self._stands_outside(values):
            return FoundRecord(self.comparison, [self._typed_key(columns, values)], None, None, outside=True)
        return found or self._remembered(self._typed_key(columns, values))

    def _stands_outside(self, values: Mapping[str, str]) -> bool:
        """Return whether the CRM has a row with this key that does not meet ``where``."""
        comparison = self.comparison
        if comparison.mapping.condition is None:
            return False
        names = enumerate(comparison.mapping.key_columns, 1)
        same = " and ".join(f"t.{quoted(name)} = %(k{n})s::{self._crm_type(name)}" for n, name in names)
        query = (
            f"/* enerflo-sync explain */ select exists (select from {comparison.rows_outside} t where {same})"  # noqa: S608
        )
        return bool(self.connection.exec_driver_sql(query, dict(values)).scalar_one())

    def by_record(self, text: str) -> FoundRecord | None:
        names = self.comparison.mirror_key
        parts = self._parts(text, names)
        values = {f"k{n}": part for n, part in enumerate(parts, 1)}
        found = self._look("mirror", self._of_record, values, "whole number")
        if self.comparison.mapping.joined_by_key or (found is not None and found.crm_rows):
            return found
        link = {"account": self.account, "table": str(self.comparison.name), "value": int(parts[0])}
        key = self.connection.scalar(_KEY_BY_LINK, link)
        if key is None or found is None:
            return found if key is None else self._remembered(key)
        return replace(found, keys=[key, *found.keys])

    def _parts(self, text: str, names: Sequence[str]) -> list[str]:
        parts = text.rsplit("/", len(names) - 1) if len(names) > 1 else [text]
        if len(parts) != len(names) or not all(part.strip() for part in parts):
            raise ConfigurationError(
                f"the key has {len(names)} parts ({'/'.join(names)}).",
                where=self.where,
                next_step="Give all of them, joined by /.",
            )
        return [part.strip() for part in parts]

    def _crm_type(self, column: str) -> str:
        return self.comparison.live.columns[column].unchecked_type

    def _typed_key(self, columns: Sequence[str], values: Mapping[str, str]) -> Mapping[str, Any]:
        made = self.comparison.crm_key(
            f"%(k{n})s::{self._crm_type(name)}" for n, name in enumerate(columns, 1)
        )
        key: Mapping[str, Any] = self.connection.exec_driver_sql(f"select {made}", dict(values)).scalar_one()
        return key

    def _remembered(self, key: Mapping[str, Any]) -> FoundRecord | None:
        """Return a record that neither side has, if a stored plan or ledger entry names it."""
        values = {"account": self.account, "table": str(self.comparison.name), "keys": [json.dumps(key)]}
        if not self.connection.scalar(_KNOWN, values):
            return None
        record = self.connection.scalar(_RECORD_OF_KEY, {**values, "key": json.dumps(key)})
        if record is not None:
            parts = {f"k{n}": str(record[name]) for n, name in enumerate(self.comparison.mirror_key, 1)}
            found = self._look("mirror", self._of_record, parts)
            if found is not None:
                return replace(found, keys=[key, *found.keys])
        return FoundRecord(self.comparison, [key], None, None)

    @property
    def _of_record(self) -> str:
        return " and ".join(f"m.p{n} = %(k{n})s::bigint" for n, _ in enumerate(self.comparison.mirror_key, 1))

    def _look(
        self, first: str, condition: str, values: Mapping[str, str], what: str | None = None
    ) -> FoundRecord | None:
        comparison = self.comparison
        crm, mirror = f"({crm_side(comparison)}) c", f"({mirror_side(comparison)}) m"
        if first == "crm":
            sides = (
                f"(select * from {crm} where {condition}) c left join {mirror} on {comparison.on('m', 'c')}"  # noqa: S608
            )
        else:
            sides = (
                f"(select * from {mirror} where {condition}) m left join {crm} on {comparison.on('m', 'c')}"  # noqa: S608
            )
        statement = _record_statement(comparison, sides)
        try:
            with self.connection.begin_nested():
                rows = self.connection.exec_driver_sql(statement, {**values, "account": self.account})
                row = rows.mappings().first()
        except sa.exc.DataError:
            types = "/".join(comparison.live.columns[name].type for name in comparison.mapping.key_columns)
            raise ConfigurationError(
                f"the key is not of the type {what or types}.",
                where=self.where,
                next_step="Write it as the table has it.",
            ) from None
        return None if row is None else self._found(row)

    def _found(self, row: sa.RowMapping) -> FoundRecord:
        in_crm, known = bool(row["crm_here"]), row["here"] is not None
        keys = [row["crm_key"]] if in_crm else []
        if known and row["join_key"] not in keys:
            keys.append(row["join_key"])
        lives = bool(row["lives"])
        names = [field.name for field in self.comparison.fields]
        return FoundRecord(
            comparison=self.comparison,
            keys=keys,
            enerflo_key=row["enerflo_key"] if known else None,
            named_key=row["named_key"],
            install=row["owner"],
            crm_rows=row["rows"] if in_crm else 0,
            in_enerflo=lives,
            deleted=known and not lives,
            enerflo_values=dict(zip(names, row["mine"], strict=True)) if known else None,
            crm_values=dict(zip(names, row["theirs"], strict=True)) if in_crm else None,
            equal=dict(zip(names, row["equal"], strict=True)) if lives and in_crm else None,
            observed_at=row["observed_at"],
            observed_by=self._observed_by(row["enerflo_key"]) if known else None,
            changed_at=row["changed_at"],
            outside=not in_crm and bool(row["outside"]),
            marked=bool(row["marked"]),
        )

    def _observed_by(self, key: Mapping[str, Any]) -> str | None:
        comparison = self.comparison
        statement = _OBSERVED.substitute(
            name=comparison.name,
            mirror=comparison.mirror,
            on=" and ".join(f"e.{name} = %({name})s" for name in comparison.mirror_key),
        )
        found: str | None = self.connection.exec_driver_sql(
            statement, {**key, "account": self.account}
        ).scalar()
        return found


def python_time(moment: str) -> str:
    """Return a CRM time that Python can represent: null for infinity and outside the years 1 to 9999."""
    return f"case when {moment} >= '0001-01-01' and {moment} < '10000-01-01' then {moment} end"


def _record_statement(comparison: Comparison, sides: str) -> str:
    keys = list(enumerate(comparison.mapping.key_columns, 1))
    fields = comparison.fields
    return _RECORD.substitute(
        name=comparison.name,
        mine=", ".join(field.enerflo.shown for field in fields),
        theirs=", ".join(field.crm.shown for field in fields),
        equal=", ".join(field.equal for field in fields),
        marked=comparison.marked_deleted("o"),
        crm_key=comparison.crm_key(f"o.k{n}" for n, _ in keys),
        join_key=stored_join_key(comparison.joins, "o"),
        outside=comparison.stands_outside("o"),
        enerflo_key=jsonb_object((name, f"o.p{n}") for n, name in enumerate(comparison.mirror_key, 1)),
        named_key=jsonb_object(
            (name, f"coalesce(o.p{n}, o.named{n})") for n, name in enumerate(comparison.mirror_key, 1)
        ),
        crm_columns=", ".join(
            [
                *(f"c.k{n}" for n, _ in keys),
                *(f"c.c{n}" for n, _ in enumerate(fields, 1)),
                *(f"c.p{n} as named{n}" for n, _ in enumerate(comparison.mirror_key, 1)),
            ]
        ),
        changed_at=python_time("c.changed_at"),
        sides=sides,
    )


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return "-" in text
