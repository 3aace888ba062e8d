"""Nothing that a person refused is ever written, until one of its values changes or a person opens it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.simulation.declared import COLUMN
from tests.simulation.mapped import first_name
from tests.simulation.people import text_of_note
from tests.simulation.shapes import Shape
from tests.simulation.values import Row, whole
from tests.simulation.watch import Watch, Written
from tests.simulation.writes import Arrival

Record = tuple[Any, ...]

_PLANNED = """
select table_name, key, enerflo_key, op, field, direction, before, after, position, plan_hash from told.plan_changes
where plan_hash = %s and state = 'planned' order by position
"""


@dataclass(eq=False)
class Refused:
    """One change that a person refused: of a field, or of a whole row.

    :param record: Enerflo's record, None where there is none yet.
    :param row: the CRM's row at that time, None where there is none yet.
    :param theirs: what Enerflo had in the field, or in all fields of the row.
    :param mapped: the columns that were mapped when the change was planned.
    """

    table: str
    key: Row
    op: str
    column: str | None
    direction: str
    value: Any
    record: Record | None
    row: Row | None
    theirs: Any
    mapped: frozenset[str]
    #: The key that the row had then.
    former_key: Row


class Refusals:
    """Remembers what was refused, beside the engine, and looks at everything that is written.

    :param stands: returns what Enerflo has of a record in the CRM's columns, None where there is none.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        shape: Shape,
        watch: Watch,
        stands: Callable[[str, Record], Row | None],
    ) -> None:
        self.active: list[Refused] = []
        # Those that the company's own change opened again; its value may come back.
        self._brought_back: list[Refused] = []
        # What an approval leaves out, by the hash of the plan that is being applied.
        self._left_out: tuple[str, list[Refused]] = ("", [])
        # The columns that were mapped when each plan was made, by table.
        self._mapped: dict[str, dict[str, frozenset[str]]] = {}
        self._connection = connection
        self._shape = shape
        self._watch = watch
        self._stands = stands

    def planned(self, plan_hash: str) -> list[Any]:
        """Return the changes of a plan that a person may refuse."""
        return self._connection.execute(_PLANNED, [plan_hash]).fetchall()

    def note_plans(self) -> None:
        """Remember what is mapped while plans that are new were made."""
        mapped = {table: frozenset(self._shape.mapped(table)) for table in self._shape.tables}
        for (plan_hash,) in self._connection.execute("select plan_hash from sync.plans").fetchall():
            self._mapped.setdefault(plan_hash, mapped)

    def refuse(self, changes: Sequence[Any]) -> None:
        """Remember changes that a person has refused just now."""
        self.active += self._still_as_planned(changes)

    def take_back(self, changes: Sequence[Any]) -> None:
        """Remember changes that an undo has taken back: none of them is made again by itself.

        A row that was made, and is gone by the undo, stays away until Enerflo says something else than now.
        """
        self.refuse([one for one in changes if one[3] == "update"])
        wholes = {
            f"{table}{op}{key}": one for one in changes for table, key, _, op, *_ in [one] if op != "update"
        }
        for table, key, enerflo_key, op, _, direction, *_, plan_hash in wholes.values():
            mapped = self._mapped[plan_hash].get(table, frozenset())
            taken_back = self._refused(table, key, enerflo_key, op, None, direction, mapped)
            taken_back.value = {}
            self.active.append(taken_back)

    def leave_out(self, plan_hash: str, changes: Sequence[Any]) -> None:
        """Remember changes that are no part of what a person approves, while the rest is applied.

        An application that was killed is gone on with, and is of the same part.
        """
        if self._left_out[0] != plan_hash or not self.was_decided(plan_hash):
            self._left_out = (plan_hash, self._still_as_planned(changes))

    def was_decided(self, plan_hash: str) -> bool:
        """Return whether an approval of a plan is committed."""
        query = "select from sync.plans where plan_hash = %s and state in ('approved', 'applied')"
        return self._connection.execute(query, [plan_hash]).fetchone() is not None

    def _still_as_planned(self, changes: Sequence[Any]) -> list[Refused]:
        found: list[Refused] = []
        wholes: dict[str, Refused] = {}
        values: dict[str, dict[str | None, Any]] = {}
        for table, key, enerflo_key, op, column, direction, before, after, _, plan_hash in changes:
            mapped = self._mapped[plan_hash].get(table, frozenset())
            if op == "update":
                refused = self._refused(table, key, enerflo_key, op, column, direction, mapped)
                refused.value = after
                planned = None if enerflo_key is None else tuple(map(whole, enerflo_key.values()))
                if planned is not None and refused.record is not None and refused.record != planned:
                    # The row was relinked since: what was refused is of the other record.
                    continue
                mine = refused.theirs if direction == "to_enerflo" else (refused.row or {}).get(column)
                # What moved since the plan was made is not what was refused.
                if self._same(table, column, mine, before):
                    found.append(refused)
                continue
            # A row that is made or deleted is one thing, however many fields it has.
            place = f"{table}{op}{key}"
            if place not in wholes:
                wholes[place] = self._refused(table, key, enerflo_key, op, None, direction, mapped)
                values[place] = {}
            values[place][column] = after
        for place, one in wholes.items():
            one.value = values[place]
        return [*found, *(one for place, one in wholes.items() if self._is_made_of(one, values[place]))]

    def _is_made_of(self, whole: Refused, values: dict[str | None, Any]) -> bool:
        """Return whether a new row still has the values that a plan has of it, or is to be deleted."""
        source = (whole.theirs if whole.direction == "to_crm" else whole.row) or {}
        # What was declared, or filled, since the plan was made is no change of what it says.
        compared = [name for name in whole.mapped if name != COLUMN or name in values]
        return whole.op == "delete" or all(
            self._same(whole.table, column, source.get(column), values.get(column))
            or (column == "status" and self._is_word_for(values.get(column), source.get(column)))
            for column in compared
        )

    def _is_word_for(self, one: Any, other: Any) -> bool:
        """Return whether two statuses are one, in whichever words."""
        plain = self._shape.plain
        return bool(plain("installs", "status", one) == plain("installs", "status", other))

    def _refused(
        self,
        table: str,
        key: Row,
        enerflo_key: Row | None,
        op: str,
        column: str | None,
        direction: str,
        mapped: frozenset[str],
    ) -> Refused:
        row = self.row(table, key)
        record = None
        if row is not None and None not in self._shape.join_of(table, row):
            record = self._shape.join_of(table, row)
        elif enerflo_key is not None:
            record = tuple(whole(value) for value in enerflo_key.values())
        theirs = self._stands(table, record) if record is not None else None
        if column is not None:
            theirs = (theirs or {}).get(column)
        return Refused(table, key, op, column, direction, None, record, row, theirs, mapped, key)

    def row(self, table: str, key: Row) -> Row | None:
        """Return the CRM's row of a key; None where there is none."""
        for (row,) in self._connection.execute(
            f"select to_jsonb(t) from {self._shape.seen}.{table} t where {self._shape.living}"
        ):
            if all(str(row.get(column)) == str(value) for column, value in key.items()):
                return row  # type: ignore[no-any-return]
        return None

    def _same(self, table: str, column: str | None, one: Any, other: Any) -> bool:
        if column is None or column not in self._shape.tables[table].fields:
            return bool(one == other)
        compared = self._shape.declared_plain
        return bool(compared(table, column, one) == compared(table, column, other))

    def reopen(self, opened: Any) -> None:
        """Forget a refusal that a person has opened again."""
        table, column = first_name(opened.table_name), first_name(opened.field)
        self.give_up(table, opened.key, opened.op, column, opened.direction)

    def give_up(self, table: str, key: Row, op: str, column: str | None, direction: str) -> None:
        """Forget a refusal, as the same change is approved after all."""
        given_up = table, str(key), op, None if op != "update" else column, direction
        self.active = [
            one
            for one in self.active
            if (one.table, str(one.former_key), one.op, one.column, one.direction) != given_up
        ]

    def holds(self, table: str, row: Row | None, record: Record | None, column: str | None = None) -> bool:
        """Return whether a refusal explains that a field, or a whole row, is left as it is."""
        key = self._shape.key_of(table, row) if row is not None else None
        return any(
            one.table == table
            and (one.column is None or one.column == column)
            and ((key is not None and one.key == key) or (record is not None and one.record == record))
            for one in [*self.active, *filter(self._is_as_refused, self._brought_back)]
        )

    def holds_link(self, table: str, record: Record) -> bool:
        """Return whether a person refused that a row of the CRM becomes the one of a record."""
        joins = self._shape.tables[table].joins
        return any(
            one.table == table and one.column in joins and (whole(one.value),) == record
            for one in self.active
        )

    def _is_as_refused(self, one: Refused) -> bool:
        """Return whether Enerflo says again what it said when a change was refused.

        A declared column that had no value then may have come into the mapping since, and counts as none.
        """
        theirs = self._stands(one.table, one.record or ())
        if (
            one.column is not None
            or theirs is None
            or one.theirs is None
            or one.theirs.get(COLUMN) is not None
        ):
            return not self._moved(one)
        return {**theirs, COLUMN: None} == {**one.theirs, COLUMN: None}

    # -- what opens a refusal again ---------------------------------------------------------------------------

    def company_changed(self) -> None:
        """Forget refusals of changes whose value at Enerflo is another one now.

        If the value comes back before a job has seen the other one, the change is still the refused one.
        """
        self._brought_back += [one for one in self.active if one.record is not None and self._moved(one)]
        self._keep(lambda one: one.record is None or not self._moved(one))

    def _keep(self, still: Callable[[Refused], bool]) -> None:
        self.active = [one for one in self.active if still(one)]
        plan_hash, left_out = self._left_out
        self._left_out = (plan_hash, [one for one in left_out if still(one)])

    def _not_to_be_made(self) -> list[Refused]:
        return [*self.active, *self._left_out[1]]

    def _moved(self, one: Refused) -> bool:
        theirs = self._stands(one.table, one.record or ())
        if one.column is None:
            if theirs is None or one.theirs is None:
                return theirs is not one.theirs
            columns = self._compared(one)
            if self._shape.lender:
                # Where the mapping changed since, a value that was not there then counts as none.
                columns = {name for name in columns if one.theirs.get(name) is not None}
            return any(
                not self._same(one.table, name, theirs.get(name), one.theirs.get(name)) for name in columns
            )
        return theirs is None or not self._same(one.table, one.column, theirs.get(one.column), one.theirs)

    def _compared(self, one: Refused) -> set[str]:
        """Return the columns that say whether a whole row is the refused one: those that are mapped as then."""
        return one.mapped & self._shape.mapped(one.table).keys()

    def written(self, written: Written) -> None:
        """Look at a row of the CRM that was written."""
        row = written.after or written.before
        assert row is not None
        if written.by_people:
            self._follow_key(written)
            self._keep(lambda one: not self._opens(written, row, one))
        else:
            for one in self._not_to_be_made():
                if one.table == written.table and one.direction == "to_crm" and self._does(written, row, one):
                    self._watch.breaks(
                        f"the CRM got what was refused or left out: {written.op} {one.table} {one.key} {one.column}"
                    )

    def _follow_key(self, written: Written) -> None:
        """Know what was refused of a row under the key that an import gives the row."""
        if written.before is None or written.after is None or written.table not in self._shape.tables:
            return
        before, after = (self._shape.key_of(written.table, row) for row in (written.before, written.after))
        record = self._shape.join_of(written.table, written.before)
        for one in (*self._not_to_be_made(), *self._brought_back) if before != after else ():
            if (one.table, one.key) == (written.table, before) and one.record in (None, record):
                one.key = after

    def _opens(self, written: Written, row: Row, one: Refused) -> bool:
        if written.table != one.table:
            return False
        if not self._is_of(written.before or row, one) and not self._is_of(row, one):
            return False
        if written.before is None or written.after is None or one.column is None:
            return True
        if self._shape.join_of(one.table, written.before) != self._shape.join_of(one.table, written.after):
            return True
        return not self._same(one.table, one.column, written.before[one.column], written.after[one.column])

    def _is_of(self, row: Row, one: Refused) -> bool:
        if all(str(row.get(column)) == str(value) for column, value in one.key.items()):
            return True
        return one.record is not None and self._shape.join_of(one.table, row) == one.record

    def _does(self, written: Written, row: Row, one: Refused) -> bool:
        if written.op != one.op or not self._is_of(row, one):
            return False
        if written.op == "insert":
            # A row of other values is another change: a job may have seen one that Enerflo had in between.
            words = {"status": one.value["status"]} if "status" in one.value else {}
            return all(
                self._same(one.table, column, row.get(column), {**(one.theirs or {}), **words}.get(column))
                for column in self._compared(one)
            )
        if written.op == "delete":
            return True
        assert one.column is not None
        before, after = (written.before or {}).get(one.column), row.get(one.column)
        return before != after and self._same(one.table, one.column, after, one.value)

    # -- what arrives at Enerflo ------------------------------------------------------------------------------

    def arrived(self, write: Arrival) -> None:
        """Complain where a write that arrives was refused."""
        for one in self._not_to_be_made():
            if one.table == write.table and one.direction == "to_enerflo" and self._sends(write, one):
                self._watch.breaks(f"{write.words}: {one.column or one.key} was refused or left out")

    def _sends(self, write: Arrival, one: Refused) -> bool:
        if one.op == "update":
            return (
                one.record == write.record
                and one.column in write.values
                and self._same(one.table, one.column, write.values[str(one.column)], one.value)
            )
        if one.row is None:
            return False
        if one.table == "leads":
            return bool(write.values.get("lead_id") == one.row["lead_id"])
        said = (str(one.row["enerflo_install_id"]), text_of_note(one.row).strip())
        if said != (str(write.values["install"]), str(write.values["body"]).strip()):
            return False
        # Of two notes that are alike one may be refused and the other sent.
        alike = [
            row
            for (row,) in self._connection.execute(
                f"select to_jsonb(t) from {self._shape.seen}.notes t where {self._shape.living}"
            )
        ]
        return all(
            any(
                other.table == one.table and other.row is not None and other.row["note_id"] == row["note_id"]
                for other in self._not_to_be_made()
            )
            for row in alike
            if row["enerflo_note_id"] is None
            and (str(row["enerflo_install_id"]), text_of_note(row).strip()) == said
        )
