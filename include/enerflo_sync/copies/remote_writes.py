"""Writing rows in the CRM's own database, each only if the row is as our copy has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.refusals import PASSED_OVER
from enerflo_sync.copies.database import error_name
from enerflo_sync.copies.dialects.base import RemoteColumn
from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.remote_table import INSIDE, RemoteTable
from enerflo_sync.crm.where import LEAVES, NEW_OUTSIDE, names_any

# How many rows one statement there writes or reads back, and one transaction writes. Were each row written by
# a statement of its own, 4,000 updates would take 1.1 s instead of 0.7 s in a MariaDB on the same machine and
# 8.7 s instead of 1.2 s in DuckDB, 2,000 new rows 8.2 s instead of 1.1 s and 7.9 s instead of 1.9 s; and each
# would be a way to a server that may be far.
_TOGETHER = 200

_CHANGED_MEANWHILE = "another session changed rows between the look at them and their change"
_SEVERAL = "the CRM has several rows of this key"
_UNTRIED = (
    "a new row is made and taken back to see whether it meets where, and this database takes nothing back:"
    " make it there, or map a view instead of where"
)
_MAY_LEAVE = (
    "where names the column, and this database takes nothing back if the row then stands outside: make the"
    " change there"
)
_NOT_FOUND = (
    "the new row is not found by its key once it is made, so it was taken back: a trigger changes the key, or"
    " the role may not read the row"
)


class _RefusedError(Exception):
    """A row of a transaction is refused, with the reason if the database itself gives none."""


@dataclass
class Written:
    """The outcome of row writes, by position among the writes.

    :param changed: rows that were written; a row that has another digest now is not among them.
    :param refused: the reasons of refused rows.
    :param left_out: by number, changes of written rows that would have taken them out of ``where``.
    """

    changed: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)


class RemoteWriter:
    """Writes rows of one table.

    :param connection: to the CRM's database; has no open transaction.
    """

    def __init__(self, connection: sa.Connection, remote: RemoteTable) -> None:
        self._connection = connection
        self._remote = remote
        self._columns = {one.name: one for one in remote.columns}

    def write(self, writes: Sequence[RowWrite]) -> Written:
        """Write rows and commit; return the outcome.

        A row that has another digest now is not written; reading it back shows its values.
        """
        written = Written()
        together = _TOGETHER if self._remote.dialect.takes_back else 1
        for first in range(0, len(writes), together):
            places = range(first, min(first + together, len(writes)))
            try:
                written.changed |= self._together({place: writes[place] for place in places})
            except _RefusedError:
                for place in places:
                    self._alone(place, writes[place], written)
        return written

    def _together(self, writes: Mapping[int, RowWrite]) -> set[int]:
        try:
            dialect = self._remote.dialect
            changed = self._at_once(writes) if dialect.takes_back and dialect.writes_at_once else set()
            for place, write in writes.items():
                if place not in changed and self._execute(write):
                    changed.add(place)
            self._connection.commit()
        except sa.exc.DBAPIError as error:
            self._connection.rollback()
            if not self._remote.dialect.refuses_a_row(error):
                raise
            raise _RefusedError(type(error).__name__) from None
        return changed

    def _at_once(self, writes: Mapping[int, RowWrite]) -> set[int]:
        """Write rows of the same columns by one statement; return those that were as the copy had them.

        A row that has no other beside it is left to its own statement, which needs no look before.

        :raises _RefusedError: not all of them could be written, or one would leave ``where``.
        """
        written: set[int] = set()
        groups: dict[tuple[str, ...], dict[int, RowWrite]] = {}
        for place, write in writes.items():
            groups.setdefault((write.op, *write.values), {})[place] = write
        for (op, *names), group in groups.items():
            if op == "update" and len(group) > 1:
                written |= self._update_at_once(names, group)
            elif op == "insert" and len(group) > 1:
                written |= self._insert_at_once(names, group)
        return written

    def _update_at_once(self, names: Sequence[str], group: Mapping[int, RowWrite]) -> set[int]:
        found = self._as_copied(group)
        if not found:
            return found
        statement, parameters = self._update_of(names, {place: group[place] for place in found})
        self._require_all(statement, parameters, len(found))
        if self._remote.where is not None and self._count_inside(group, found) != len(found):
            raise self._refused(LEAVES)
        return found

    def _insert_at_once(self, names: Sequence[str], group: Mapping[int, RowWrite]) -> set[int]:
        there = {place for place, _ in self._there(group, self._remote.inside)}
        new = {place: write for place, write in group.items() if place not in there}
        if not new:
            return set()
        self._require_all(*self._insert_of(names, new), len(new))
        # Defaults and triggers ran. Two rows of one key are found under the first of their places.
        if Counter(self._there(new, self._remote.inside)) != Counter((place, INSIDE) for place in new):
            raise self._refused(_NOT_FOUND)
        return {*new}

    def _require_all(self, statement: str, parameters: Mapping[str, Any], number: int) -> None:
        if self._connection.execute(self._statement(statement, parameters), parameters).rowcount != number:
            raise self._refused(_CHANGED_MEANWHILE)

    def _refused(self, reason: str) -> _RefusedError:
        self._connection.rollback()
        return _RefusedError(reason)

    def _as_copied(self, writes: Mapping[int, RowWrite]) -> set[int]:
        """Return the places of the rows that are there once and have the digest of the copy."""
        rows = self._there(writes, self._remote.row_hash)
        times = Counter(place for place, _ in rows)
        return {
            place for place, digest in rows if times[place] == 1 and int(digest) == writes[place].row_hash
        }

    def _there(self, writes: Mapping[int, RowWrite], value: str) -> list[tuple[int, Any]]:
        """Return the rows that have one of the keys: the place of the key, and an expression's value."""
        chosen, parameters = self._chosen(writes)
        place = self._by_key({place: str(place) for place in writes})
        query = f"select {place}, {value} from {self._remote.table} where {chosen}"  # noqa: S608 - quoted
        rows = self._connection.execute(self._statement(query, parameters), parameters)
        return [(int(at), found) for at, found in rows]

    def _count_inside(self, writes: Mapping[int, RowWrite], places: Collection[int]) -> int:
        chosen, parameters = self._chosen({place: writes[place] for place in places})
        query = (
            f"select count(*) from {self._remote.table}"  # noqa: S608 - quoted names
            f" where ({chosen}) and {self._remote.inside} = '{INSIDE}'"
        )
        return int(self._connection.execute(self._statement(query, parameters), parameters).scalar_one())

    def _update_of(
        self, names: Sequence[str], writes: Mapping[int, RowWrite]
    ) -> tuple[str, Mapping[str, Any]]:
        """Return the statement that updates rows, each to its own values, and its parameters."""
        chosen, parameters = self._chosen(writes)
        digests = self._by_key({place: f":h{place}" for place in writes})
        sets = []
        for n, name in enumerate(names):
            column = self._columns[name]
            values = {place: self._remote.dialect.typed(f":v{n}_{place}", column) for place in writes}
            sets.append(f"{self._name(name)} = {self._by_key(values)}")
            for place, write in writes.items():
                parameters[f"v{n}_{place}"] = self._given(name, write.values[name])
        parameters |= {f"h{place}": one.row_hash for place, one in writes.items()}
        return (
            f"update {self._remote.table} set {', '.join(sets)}"  # noqa: S608 - quoted names
            f" where ({chosen}) and {self._remote.row_hash} = {digests}",
            parameters,
        )

    def _insert_of(
        self, names: Sequence[str], writes: Mapping[int, RowWrite]
    ) -> tuple[str, Mapping[str, Any]]:
        """Return the statement that inserts all rows if none of their keys is there, and its parameters."""
        dialect = self._remote.dialect
        chosen, parameters = self._chosen(writes)
        rows = []
        for place, write in writes.items():
            values = []
            for n, name in enumerate(names):
                values.append(f"{dialect.typed(f':v{n}_{place}', self._columns[name])} as c{n}")
                parameters[f"v{n}_{place}"] = self._given(name, write.values[name])
            rows.append(f"select {', '.join(values)}{dialect.from_nothing}")
        columns = ", ".join(self._name(name) for name in names)
        given = ", ".join(f"v.c{n}" for n in range(len(names)))
        return (
            f"insert into {self._remote.table} ({columns}) select {given}"  # noqa: S608 - quoted names
            f" from ({' union all '.join(rows)}) v"
            f" where not exists (select 1 from {self._remote.table} where {chosen})",
            parameters,
        )

    def _chosen(self, writes: Mapping[int, RowWrite]) -> tuple[str, dict[str, Any]]:
        """Return the condition that a row has one of the keys, and its parameters."""
        parameters: dict[str, Any] = {}
        for place, write in writes.items():
            parameters |= self._key_parameters(write.key, f"n{place}_")
        if len(self._remote.key) > 1:
            return " or ".join(f"({self._of_key(f'n{place}_')})" for place in writes), parameters
        (key,) = self._remote.key
        keys = ", ".join(self._remote.dialect.compared(f":n{place}_k0", key) for place in writes)
        return f"{self._name(key.name)} in ({keys})", parameters

    def _by_key(self, values: Mapping[int, str]) -> str:
        """Return the expression that gives each of the rows its value."""
        cases = " ".join(f"when {self._of_key(f'n{place}_')} then {value}" for place, value in values.items())
        return f"case {cases} end"

    def _alone(self, place: int, write: RowWrite, written: Written) -> None:
        try:
            changed = self._execute(write)
            self._connection.commit()
        except sa.exc.DBAPIError as error:
            self._connection.rollback()
            if not self._remote.dialect.refuses_a_row(error):
                raise
            written.refused[place] = f"{self._remote.dialect.title} refuses the row ({error_name(error)})"
        except _RefusedError as error:
            rest = self._without_choosing(write)
            if str(error) in (LEAVES, _MAY_LEAVE) and rest is not None:
                self._alone(place, rest, written)
                if place in written.changed:
                    written.left_out |= dict.fromkeys(set(write.numbers) - set(rest.numbers), str(error))
                return
            written.refused[place] = str(error)
        else:
            written.changed |= {place} if changed else set()

    def _without_choosing(self, write: RowWrite) -> RowWrite | None:
        """Return the write without the columns that ``where`` names; None if it has none or no others."""
        kept = {
            name: (number, value)
            for number, (name, value) in zip(write.numbers, write.values.items(), strict=False)
            if not names_any(self._remote.where or "", {name, self._columns[name].own})
        }
        if not 0 < len(kept) < len(write.values) == len(write.numbers):
            return None
        values = {name: value for name, (_, value) in kept.items()}
        return replace(write, numbers=[number for number, _ in kept.values()], values=values)

    def _execute(self, write: RowWrite) -> bool:
        """Write one row; return whether the row to write was found."""
        if write.op == "insert" and self._remote.where is not None and not self._remote.dialect.takes_back:
            raise _RefusedError(_UNTRIED)
        if write.op == "update" and self._may_leave(write):
            raise _RefusedError(_MAY_LEAVE)
        statement = self._insert(write) if write.op == "insert" else self._update(write)
        names, values = list(write.values), list(write.values.values())
        parameters = {f"v{n}": self._given(name, values[n]) for n, name in enumerate(names)}
        parameters |= self._key_parameters(write.key)
        if write.row_hash is not None:
            parameters["row_hash"] = write.row_hash
        result = self._connection.execute(self._statement(statement, parameters), parameters)
        if result.rowcount > 1:
            self._connection.rollback()
            raise _RefusedError(_SEVERAL)
        if result.rowcount == 0 and self._is_passed_over(write):
            self._connection.rollback()
            raise _RefusedError(PASSED_OVER)
        if result.rowcount == 1 and self._remote.dialect.takes_back:
            reason = self._unlike_the_plan(write)
            if reason is not None:
                self._connection.rollback()
                raise _RefusedError(reason)
        return result.rowcount != 0

    def _is_passed_over(self, write: RowWrite) -> bool:
        """Return whether a row that was not written could be: it is as the copy has it, or a new key is free.

        The look comes after the write, so that what another session committed meanwhile is seen.
        """
        if write.op == "insert":
            return not self._there({0: write}, self._remote.inside)
        return self._as_copied({0: write}) == {0}

    def _may_leave(self, write: RowWrite) -> bool:
        """Return whether a change could take its row out of ``where`` and could not be taken back."""
        where = self._remote.where
        if where is None or self._remote.dialect.takes_back:
            return False
        return names_any(where, {name for one in write.values for name in (one, self._columns[one].own)})

    def _unlike_the_plan(self, write: RowWrite) -> str | None:
        """Return why a row must be rolled back after defaults and triggers ran; None if it may stay.

        A new row that cannot be found by its key would be inserted again by each run. A changed row that
        stands outside ``where`` would never be compared again.
        """
        if write.op != "insert" and (write.op != "update" or self._remote.where is None):
            return None
        query = f"select {self._remote.inside} from {self._remote.table} where {self._of_key()}"  # noqa: S608
        parameters = self._key_parameters(write.key)
        found = [row[0] for row in self._connection.execute(self._statement(query, parameters), parameters)]
        if write.op == "update":
            return None if INSIDE in found else LEAVES
        if not found:
            return _NOT_FOUND
        return None if found == [INSIDE] else NEW_OUTSIDE

    def _update(self, write: RowWrite) -> str:
        remote = self._remote
        dialect = remote.dialect
        sets = ", ".join(
            f"{self._name(name)} = {dialect.assigned(f':v{n}', self._columns[name])}"
            for n, name in enumerate(write.values)
        )
        once = (
            ""
            if dialect.takes_back
            else f" and (select count(*) from {remote.table} where {self._of_key()}) = 1"  # noqa: S608
        )
        return (
            f"update {remote.table} set {sets} where {self._of_key()}"  # noqa: S608 - quoted names
            f" and {remote.row_hash} = :row_hash{once}"
        )

    def _insert(self, write: RowWrite) -> str:
        remote = self._remote
        names = ", ".join(self._name(name) for name in write.values)
        values = ", ".join(
            remote.dialect.typed(f":v{n}", self._columns[name]) for n, name in enumerate(write.values)
        )
        return (
            f"insert into {remote.table} ({names}) select {values}{remote.dialect.from_nothing}"  # noqa: S608
            f" where not exists (select 1 from {remote.table} where {self._of_key()})"
        )

    def read_back(self, keys: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield the rows of these keys as they are there now, in the form of the copy."""
        for first in range(0, len(keys), _TOGETHER):
            conditions: list[str] = []
            values: dict[str, Any] = {}
            for n, key in enumerate(keys[first : first + _TOGETHER]):
                conditions.append(f"({self._of_key(f'n{n}_')})")
                values |= self._key_parameters(key, f"n{n}_")
            yield from self._remote.rows(self._connection, f"where {' or '.join(conditions)}", values)

    def _of_key(self, prefix: str = "") -> str:
        compared = self._remote.dialect.compared
        pairs = (
            f"{self._name(one.name)} = {compared(f':{prefix}k{n}', one)}"
            for n, one in enumerate(self._remote.key)
        )
        return " and ".join(pairs)

    def _key_parameters(self, key: Sequence[Any], prefix: str = "") -> Mapping[str, Any]:
        return {
            f"{prefix}k{n}": self._given(one.name, value)
            for n, (one, value) in enumerate(zip(self._remote.key, key, strict=True))
        }

    def _given(self, name: str, value: Any) -> Any:
        column: RemoteColumn = self._columns[name]
        return self._remote.dialect.parameter(column, value)

    def _name(self, name: str) -> str:
        return self._remote.dialect.quoted(self._columns[name].own)

    def _statement(self, text: str, parameters: Mapping[str, Any]) -> sa.TextClause:
        return self._remote.dialect.statement(text, parameters)
