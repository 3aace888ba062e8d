"""Compares Salesforce's present records with the values that their changes expect.

Salesforce's values replace those of the copy's rows, in the types of the copy's columns. So the mapping's own
rules compare them and decide whether they meet ``where``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from enerflo_sync.agreed.whole_rows import as_planned
from enerflo_sync.agreed.written import (
    as_written,
    column_value,
    of_key,
    shown,
    zone_of,
)
from enerflo_sync.copies.salesforce.api import MODIFIED, ObjectInfo, Record
from enerflo_sync.copies.salesforce.changes import OPEN, RecordChanges
from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import FieldType
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.where import named_columns
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import names_record
from enerflo_sync.reconcile.values import Field, value_of_text

BEFORE, AFTER, ELSE, UNLINKED, UNREADABLE = "before", "after", "else", "unlinked", "unreadable"
# Only the copy says whether the record meets `where`, and the record was modified since, or may have been.
OLD, UNTOLD = "old", "untold"

# The copy's row provides the values that Salesforce does not have as a field.
_TAKE = Template("""
/* enerflo-sync carry $name: the copy's rows of records that were read */
create temporary table $now on commit drop as
select r.id as _record_id, $modified as _modified, $columns
from unnest(%(ids)s::text[]) r(id) $join join $crm t on $on
""")
_OVERLAY = Template("""
/* enerflo-sync carry $name: what Salesforce says of them now */
update $now t set $sets from unnest(%(ids)s::text[], %(records)s::jsonb[]) r(id, record)
where t._record_id = r.id
""")
# A change that we wrote before, and that the copy does not show yet, is not a person's edit.
_OUR_EARLIER = Template("""exists (
      select from sync.crm_changes o
      where o.account = w.account and o.table_name = w.table_name and o.key = w.key and o.op = 'update'
        and o."column" = w."column" and o.number < w.number and o.ended_at is null
        and (o.acknowledged_at is not null or o.sent_as_of is not null)
        and $same)""")
_CHANGES = Template(f"""
/* enerflo-sync carry $name: changes, and what Salesforce says instead */
select w.number, t._record_id as id, w.sent_as_of, $value as value, $says as says
from sync.crm_changes w join $now t on $on and $same
where {OPEN} and w.number = any(%(numbers)s::bigint[]) and w.op = %(op)s
  and w."column" is not distinct from %(column)s::text
""")  # noqa: S608 - constants

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True)
class Judged:
    """One change with the present state of its record.

    :param value: the value to write, in the type of the copy's column.
    :param sent_as_of: the record's time of modification before an earlier request with the change whose
        answer was lost; None: there was no such request.
    """

    number: int
    record_id: str
    column: str | None
    value: Any
    says: str
    sent_as_of: datetime | None


class Judge:
    """Compares records with the changes of one table, in the caller's transaction.

    :param info: the object as Salesforce describes it.
    """

    def __init__(
        self, connection: sa.Connection, comparison: Comparison, account: str, info: ObjectInfo
    ) -> None:
        self._connection, self._comparison, self._account = connection, comparison, account
        to = comparison.mapping.to_salesforce
        assert to is not None  # noqa: S101 - a defect of ours
        self._to = to
        self._now = f"pg_temp.at_salesforce_{comparison.name}"
        self._columns = [name for name, column in comparison.live.columns.items() if column.readable]
        condition = comparison.mapping.condition
        choosing = named_columns(condition, comparison.live) if condition else ()
        asked = {*comparison.mapping.crm_columns, *choosing}
        # Whether Salesforce does not say all that `where` asks.
        self._asks_copy = any(name != to.id and to.field_of(name) not in info.fields for name in choosing)
        self._fields = {
            name: to.field_of(name)
            for name in self._columns
            # The copy may have an id without its checksum, and changes name the row by that id.
            if name != to.id
            and to.field_of(name) in info.fields
            and (name in asked or to.field_of(name) == MODIFIED)
        }

        # The copy's column with the record's last modification, if it has one.
        self._modified = next((name for name, field in self._fields.items() if field == MODIFIED), None)

    @property
    def fields(self) -> list[str]:
        """Return the fields to read of each record."""
        return list(self._fields.values())

    @property
    def knows_modified(self) -> bool:
        """Return whether the copy has the time of a record's last modification."""
        return self._modified is not None

    def changes(
        self, records: Mapping[str, Record], columns: Mapping[tuple[str, str | None], Sequence[int]]
    ) -> list[Judged]:
        """Return the judgement of each change by its record; a change without a row in the copy is left out.

        :param records: the records as they were read, by their id in the copy.
        :param columns: numbers of changes by operation (update, delete) and column.
        """
        return list(self._apart(records, columns, new=False))

    def new_rows(
        self, key: str, record: Record, columns: Mapping[tuple[str, str | None], Sequence[int]]
    ) -> list[Judged]:
        """Return the judgement of changes that should make a record which exists already.

        :param key: the key of the changes.
        """
        return list(self._apart({key: record}, columns, new=True))

    def values(self, columns: Mapping[str, int]) -> dict[str, Any]:
        """Return the values that changes are to write, in the types of the copy's columns."""
        comparison, found = self._comparison, {}
        for name, number in columns.items():
            value = column_value(comparison.live.columns[name], "w.after", zone_of(comparison, name))
            query = (
                f"/* enerflo-sync carry {comparison.name} */ select {value} from sync.crm_changes w"  # noqa: S608
                " where w.account = %(account)s and w.number = %(number)s"
            )
            named = {"account": self._account, "number": number}
            found[name] = self._connection.exec_driver_sql(query, named).scalar_one()
        return found

    def would_count(self, record: RecordChanges, external: str) -> bool:
        """Return whether a record to be made meets the table's condition with the values that we write.

        :param external: the field of its external id.
        """
        if self._comparison.mapping.condition is None:
            return True
        query = (
            "/* enerflo-sync carry: what a new record is to say */"
            ' select "column", after from sync.crm_changes where account = %(account)s'
            " and number = any(%(numbers)s::bigint[])"
        )
        named = {"account": self._account, "numbers": record.numbers}
        said = {self._to.field_of(row[0]): row[1] for row in self._connection.exec_driver_sql(query, named)}
        (key,) = record.key_values.values()
        now = datetime.now(UTC)
        made = Record("", {**said, external: key}, now, None)
        with self._overlaid({record.key: made}, new=True):
            counts = f"select {self._comparison.counts('t')} from {self._now} t"  # noqa: S608 - our own names
            return bool(self._connection.exec_driver_sql(counts, {}).scalar_one())

    def _apart(
        self,
        records: Mapping[str, Record],
        columns: Mapping[tuple[str, str | None], Sequence[int]],
        *,
        new: bool,
    ) -> Iterator[Judged]:
        """Judge records together; if a value does not fit its column, judge each one alone."""
        if not records:
            return
        try:
            with self._connection.begin_nested(), self._overlaid(records, new=new):
                found = list(self._judged(columns, new=new))
        except DBAPIError as error:
            if len(records) > 1:
                for id_, record in records.items():
                    yield from self._apart({id_: record}, columns, new=new)
                return
            state = getattr(error.orig, "sqlstate", None) or ""
            if not state.startswith("22"):
                raise
            (id_,) = records
            for (_, name), numbers in columns.items():
                yield from (Judged(number, id_, name, None, UNREADABLE, None) for number in numbers)
            return
        yield from found

    @contextmanager
    def _overlaid(self, records: Mapping[str, Record], *, new: bool) -> Iterator[None]:
        comparison = self._comparison
        columns = ", ".join(f"t.{quoted(name)}" for name in self._columns)
        on = "false" if new else f"t.{quoted(self._to.id)}::text = r.id and {comparison.counts('t')}"
        named = {
            "name": comparison.name,
            "now": self._now,
            "columns": columns,
            "crm": comparison.crm,
            "on": on,
        }
        named["modified"] = f"t.{quoted(self._modified)}" if self._modified is not None else "null"
        ids = {"ids": list(records)}
        take = _TAKE.substitute(named, join="left" if new else "")
        self._connection.exec_driver_sql(take, ids)
        sets = ", ".join(f"{quoted(name)} = {self._said(name)}" for name in self._fields)
        texts = [_encode(self._as_columns(record.values)).decode() for record in records.values()]
        overlay = _OVERLAY.substitute(named, sets=sets)
        self._connection.exec_driver_sql(overlay, {**ids, "records": texts})
        yield
        self._connection.exec_driver_sql(f"drop table {self._now}")

    def _said(self, name: str) -> str:
        comparison = self._comparison
        value = f"(r.record -> {literal(self._fields[name])})"
        return column_value(comparison.live.columns[name], value, zone_of(comparison, name))

    def _as_columns(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record's fields; a checkbox as a number if the copy's column is a number."""
        said = {field: values.get(field) for field in self._fields.values()}
        for name, field in self._fields.items():
            value = said[field]
            if isinstance(value, bool) and self._comparison.live.columns[name].kind is Kind.INTEGER:
                said[field] = int(value)
        return said

    def _judged(
        self, columns: Mapping[tuple[str, str | None], Sequence[int]], *, new: bool
    ) -> Iterator[Judged]:
        comparison = self._comparison
        one = f"(select count(*) from {self._now} s where s._record_id = t._record_id) = 1"  # noqa: S608
        for (op, name), numbers in columns.items():
            value = "null"
            if name is not None:
                value = column_value(comparison.live.columns[name], "w.after", zone_of(comparison, name))
            on = "w.key::text = t._record_id" if new else of_key(comparison, "w.key")
            query = _CHANGES.substitute(
                name=comparison.name, value=value, says=self._says(op, name), now=self._now, on=on, same=one
            )
            named = {
                "account": self._account,
                "table": str(comparison.name),
                "numbers": list(numbers),
                "op": op,
                "column": name,
            }
            for row in self._connection.exec_driver_sql(query, named):
                yield Judged(row.number, row.id, name, row.value, row.says, row.sent_as_of)

    def _says(self, op: str, name: str | None) -> str:
        comparison = self._comparison
        named = names_record(comparison, "t", "w.enerflo_key")
        linked = f"(w.kind = 'link' or {named}) and {comparison.counts('t')}"
        old = self._is_old
        if op == "delete":
            pairs = ((one.name, f"w.before -> {literal(one.name)}") for one in comparison.fields)
            same = " and ".join(self._unmoved(field, f"nullif({before}, 'null')") for field, before in pairs)
            if self._modified is not None:
                # A new record gets fields that are not mapped as well.
                same += f" and t._modified is not distinct from t.{quoted(self._modified)}"
            # The copy may be a later one than the plan's, which shows edits since.
            row = f"{of_key(comparison, 'w.key')} and {comparison.counts('t')} and {as_planned(comparison)}"
            same += f" and exists (select from {comparison.crm} t where {row})"
            same = f"when {same} then 'before'"
            return f"case when not ({linked}) then 'unlinked' {old} {same} else 'else' end"
        assert name is not None  # noqa: S101 - a defect of ours
        made = self._shows(name)
        if op == "insert":
            return f"case when {made} then 'after' else 'else' end"
        if name in comparison.mapping.join_columns:
            linked = comparison.counts("t")
        before = self._unmoved(name, "nullif(w.copy_value, 'null')")
        ours = self._unmoved(name, f"nullif({as_written(comparison, name, 'o.after')}, 'null')")
        earlier = _OUR_EARLIER.substitute(same=ours)
        return (
            f"case when not ({linked}) then 'unlinked' when {made} then 'after' {old}"
            f" when {before} or {earlier} then 'before' else 'else' end"
        )

    @property
    def _is_old(self) -> str:
        """Return ``when …``: only the copy's row says whether the record counts, and it may be old."""
        if not self._asks_copy:
            return ""
        if self._modified is None:
            return f"when true then '{UNTOLD}'"
        return f"when t._modified is distinct from t.{quoted(self._modified)} then '{OLD}'"

    def _shows(self, name: str) -> str:
        """Return whether the record has the value to write, as declared: Salesforce may round it."""
        now, after = shown(self._comparison, name), as_written(self._comparison, name, "w.after")
        if (field := self._field(name)) is not None:
            return field.same_shown(f"nullif({now}, 'null')", f"nullif({after}, 'null')", in_crm=True)
        return f"nullif({now}, 'null') is not distinct from nullif({after}, 'null')"

    def _unmoved(self, name: str, value: str) -> str:
        """Return whether the record has a value: the same number, moment or text, without any tolerance."""
        now = f"nullif({shown(self._comparison, name)}, 'null')"
        exactly = f"{now} is not distinct from {value}"
        field = self._field(name)
        if field is None or field.domain is FieldType.JSON:
            return f"({exactly})"
        here, there = (value_of_text(f"({one} #>> '{{}}')", field.domain, field.zone) for one in (now, value))
        return f"({exactly} or coalesce({here} = {there}, false))"

    def _field(self, name: str) -> Field | None:
        return next((one for one in self._comparison.fields if one.name == name), None)
