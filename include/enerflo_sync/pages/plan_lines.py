"""The lines of a plan's pages: changes by field, inserted records and questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.counted import number
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.plan.parts import has_personal_key, record_name
from enerflo_sync.plan.questions import GROUP
from enerflo_sync.plan.render.shown_plan import (
    masked_changes,
    masked_undecided,
    question_values,
)
from enerflo_sync.plan.report import Change, Undecided
from enerflo_sync.reconcile.render.wording import ShownValue, ValueKind, key_values, record_words

PAGE: Final = 50
SAMPLES: Final = 3
# Counting stops here, because a group may have any number of changes.
MOST_COUNTED: Final = 1_000
_WIDTH: Final = 60
_FULL: Final = 300
# Only the beginning of a whole record is shown; the record's own page has all of it.
_RECORD_WIDTH: Final = 90

_COLUMNS = (
    "position, table_name, key, op, field, before, after, direction, policy, cause, rule, state, reason"
)

# Reads from the first change of a field, only as many rows of the plan as needed.
_SAMPLES = sa.text(f"""
/* enerflo-sync pages: samples of a plan's changes */
select w.number, c.*
from jsonb_to_recordset(cast(:wanted as jsonb))
  w(number int, table_name text, direction text, op text, field text, first bigint, most int)
cross join lateral (
  select {_COLUMNS} from sync.plan_changes c
  where c.account = :account and c.plan_hash = :plan_hash and c.position >= w.first
    and c.table_name = w.table_name and c.direction = w.direction and c.op = w.op
    and (w.field is null or c.field = w.field)
  order by c.position limit w.most) c
order by w.number, c.position
""").bindparams(sa.bindparam("wanted", type_=JSONB))  # noqa: S608 - a constant

_CHANGES = sa.text(f"""
/* enerflo-sync pages: a plan's changes of one kind */
select {_COLUMNS} from sync.plan_changes
where account = :account and plan_hash = :plan_hash and position > :after and table_name = :table
  and direction = :direction and op = :op and (cast(:field as text) is null or field = :field)
order by position limit :most
""")  # noqa: S608 - a constant

_QUESTIONS = sa.text(f"""
/* enerflo-sync pages: what a plan leaves to a person */
select position, table_name, key, field, enerflo_value, crm_value, cause, reason, refusal_id
from sync.plan_undecided
where account = :account and plan_hash = :plan_hash and position > :after
  and case when :refused then refusal_id is not null
           else refusal_id is null and (cast(:name as text) is null
             or :name in ({GROUP.format(reason="reason")}, {GROUP.format(reason="''")})) end
order by position limit :most
""")  # noqa: S608 - constants

_REFUSALS = sa.text("""
/* enerflo-sync pages: what stands refused of a plan */
select refusal_id as position, table_name, key, field, before as enerflo_value, after as crm_value,
  op as cause, coalesce(reason, '') as reason, refusal_id, decided_by, decided_at
from sync.refusals
where account = :account and plan_hash = :plan_hash and ended_at is null and refusal_id > :after
order by refusal_id limit :most
""")


@dataclass(frozen=True)
class Wanted:
    """Changes of one field that do the same, or of whole rows if ``field`` is None.

    :param first: the position of the first one, or the position before it.
    """

    table_name: str
    direction: str
    op: str
    field: str | None = None
    first: int = 0


@dataclass(frozen=True)
class PlanLine:
    """One change as it is shown; for an inserted record, all its values.

    :param position: of its last change in the plan; :param key: masked.
    :param bare_key: for its address; None if it is personal data.
    :param selector: the text that selects it in a decision; None if that would contain personal data.
    :param creates: whether the change inserts a record.
    """

    position: int
    table_name: str
    key: str
    bare_key: Mapping[str, Any] | None
    field: str | None
    before: ShownValue
    after: ShownValue
    rule: str
    state: str
    reason: str | None
    selector: str | None
    creates: bool


@dataclass(frozen=True)
class QuestionLine:
    """One question, or one refused change (``refusal_id``), as it is shown."""

    position: int
    table_name: str
    key: str
    bare_key: Mapping[str, Any] | None
    field: str | None
    mine: ShownValue
    theirs: ShownValue
    reason: str
    refusal_id: int | None


class PlanLines:
    """Reads lines of one plan, masked."""

    def __init__(
        self, connection: sa.Connection, account: str, plan_hash: str, tables: Mapping[str, TableMapping]
    ) -> None:
        self._connection = connection
        self._named = {"account": account, "plan_hash": plan_hash}
        self._tables = tables

    def samples(self, wanted: Sequence[tuple[Wanted, int]]) -> list[list[PlanLine]]:
        """Return samples of each of ``wanted``; the numbers say how many rows of the plan to read."""
        asked = [
            {
                "number": at,
                "table_name": one.table_name,
                "direction": one.direction,
                "op": one.op,
                "field": one.field,
                "first": one.first,
                "most": most,
            }
            for at, (one, most) in enumerate(wanted)
        ]
        found: list[list[sa.RowMapping]] = [[] for _ in wanted]
        for row in self._connection.execute(_SAMPLES, {**self._named, "wanted": asked}).mappings():
            found[row["number"]].append(row)
        return [list(self._lines(rows))[:SAMPLES] for rows in found]

    def page(self, wanted: Wanted, *, rows_each: int, after: int) -> list[PlanLine]:
        """Return one page of changes, and one more line if another page follows.

        :param rows_each: how many changes one line has at most; :param after: the position before the page.
        """
        values = {
            **self._named,
            "table": wanted.table_name,
            "direction": wanted.direction,
            "op": wanted.op,
            "field": wanted.field,
            "after": after,
            "most": (PAGE + 1) * rows_each,
        }
        return list(self._lines(self._connection.execute(_CHANGES, values).mappings()))[: PAGE + 1]

    def questions(self, *, after: int, name: str | None = None, refused: bool = False) -> list[QuestionLine]:
        """Return one page of changes that need a person, or that were refused before, and one more line.

        :param name: the name of a group of questions; None for all.
        """
        values = {**self._named, "after": after, "name": name, "refused": refused, "most": PAGE + 1}
        return self._questions(self._connection.execute(_QUESTIONS, values).mappings().all())

    def refusals(self, *, after: int) -> list[QuestionLine]:
        """Return one page of refused changes of this plan with both values, and one more line."""
        values = {**self._named, "after": after, "most": PAGE + 1}
        return self._questions(self._connection.execute(_REFUSALS, values).mappings().all())

    def _lines(self, rows: Iterable[sa.RowMapping]) -> Iterator[PlanLine]:
        changes = [Change(**{name: row[name] for name in Change.__struct_fields__}) for row in rows]
        masked = list(masked_changes(changes, self._tables))
        at = 0
        while at < len(changes):
            end = at + 1
            if changes[at].op == "insert":
                while end < len(changes) and changes[end].key == changes[at].key:
                    end += 1
            yield self._line(changes[at], masked[at:end])
            at = end

    def _line(self, bare: Change, of_line: Sequence[Change]) -> PlanLine:
        one, last = of_line[0], of_line[-1]
        mapping = self._tables.get(bare.table_name)
        is_open = mapping is not None and not has_personal_key(mapping)
        columns = () if mapping is None else mapping.key_columns
        selector = f"{bare.table_name}:{record_name(bare.key, columns)}"
        after: Any = one.after
        if one.op == "insert":
            after = {change.field: change.after for change in of_line if change.after is not None}
        return PlanLine(
            position=last.position,
            table_name=bare.table_name,
            key=self._key(bare.table_name, one.key),
            bare_key=bare.key if is_open else None,
            field=one.field if one.op == "update" else None,
            before=shown_value(
                None if one.op == "insert" else one.before, "no record" if one.op == "insert" else ""
            ),
            after=shown_value(None if one.op == "delete" else after, "deleted" if one.op == "delete" else ""),
            rule=one.rule,
            state=one.state,
            reason=one.reason,
            selector=(f"{selector}.{bare.field}" if bare.op == "update" else selector) if is_open else None,
            creates=one.op == "insert",
        )

    def _questions(self, rows: Sequence[sa.RowMapping]) -> list[QuestionLine]:
        bare = [Undecided(**{name: row[name] for name in Undecided.__struct_fields__}) for row in rows]
        lines = []
        for row, one in zip(rows, masked_undecided(bare, self._tables), strict=True):
            mapping = self._tables.get(one.table_name)
            is_open = mapping is not None and not has_personal_key(mapping)
            mine, theirs = question_values(one)
            lines.append(
                QuestionLine(
                    position=row["position"],
                    table_name=one.table_name,
                    key=self._key(one.table_name, one.key),
                    bare_key=row["key"] if is_open else None,
                    field=one.field,
                    mine=shown_value(mine),
                    theirs=shown_value(theirs),
                    reason=one.reason,
                    refusal_id=one.refusal_id,
                )
            )
        return lines

    def _key(self, table: str, key: Mapping[str, Any]) -> str:
        mapping = self._tables.get(table)
        columns = () if mapping is None else mapping.key_columns
        return key_values({name: key[name] for name in (*columns, *key) if name in key})


def shown_value(value: object, instead: str = "") -> ShownValue:
    """Return a value as the content of a table cell.

    :param instead: the words to show if there is no value.
    """
    if value is None:
        words = instead or "no value"
        return ShownValue(words, words, ValueKind.REMARK)
    if isinstance(value, dict):
        words = _cut(record_words(value), _RECORD_WIDTH)
        return ShownValue(words, words)
    text = record_words(value)
    return ShownValue(_cut(text, _WIDTH), _cut(text, _FULL))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[:width]}…"


def many_words(found: int) -> str:
    """Return in words a number that was counted up to :data:`MOST_COUNTED` plus one."""
    return number(found) if found <= MOST_COUNTED else f"{number(MOST_COUNTED)}+"
