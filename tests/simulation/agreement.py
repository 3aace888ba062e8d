"""What must hold between the two sides once the dust has settled: they agree, and nothing was written twice."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.simulation.people import People
from tests.simulation.writes import WritesApi

Row = dict[str, Any]
Rows = Callable[[str], list[tuple[Any, ...]]]
Same = Callable[[str, Any, Any], None]


# By table of the CRM: its key, the columns that name Enerflo's record, and what its columns are there. Written
# down here once more: the same misreading must not sit in the engine and in what looks after it.
@dataclass(frozen=True)
class Table:
    key: tuple[str, ...]
    joins: dict[str, str]
    fields: dict[str, str]
    truth: str


TABLES = {
    "installs": Table(
        ("enerflo_install_id",),
        {"enerflo_install_id": "install_id"},
        {
            **{name: name for name in ("deal_id", "customer_name", "system_size_kw", "panel_type")},
            **{name: name for name in ("panel_count", "battery_configuration", "contract_amount")},
            "status": "status_name",
        },
        "installs",
    ),
    "milestones": Table(
        ("enerflo_install_id", "milestone_id"),
        {"enerflo_install_id": "install_id", "milestone_id": "milestone_id"},
        {name: name for name in ("title", "started_at", "due_at", "completed_at")},
        "milestones",
    ),
    "notes": Table(
        ("note_id",),
        {"enerflo_note_id": "note_id"},
        {"enerflo_install_id": "install_id", "body": "body"},
        "notes",
    ),
    "leads": Table(
        ("lead_id",),
        {"enerflo_customer_id": "customer_id"},
        {n: n for n in ("first_name", "last_name", "email", "mobile", "address", "city", "state", "zip")},
        "customers",
    ),
    "change_orders": Table(
        ("enerflo_change_order_id",),
        {"enerflo_change_order_id": "change_order_id"},
        {
            **{"enerflo_install_id": "install_id", "status": "status", "signed_at": "signed_at"},
            **{"panel_type": "panel_type_new", "panel_count": "panel_count_new"},
            "battery_configuration": "battery_new",
        },
        "change_orders",
    ),
}
_BY_ENERFLO = {
    "installs": {*TABLES["installs"].fields} - {"status"},
    "milestones": {"title"},
    "change_orders": {*TABLES["change_orders"].fields},
}
_STATES = {"massachusetts": "ma", "texas": "tx"}


def plain(column: str, value: Any) -> Any:
    """Return a value as it is compared, however either side writes it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(microsecond=0)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value)).normalize() + 0
    text = str(value).strip()
    if column.endswith("_at"):
        return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)
    if column in ("system_size_kw", "panel_count", "contract_amount") or column.endswith("_id"):
        try:
            return Decimal(text).normalize() + 0
        except InvalidOperation:
            return text
    folded = text.casefold()
    if column == "mobile":
        return "".join(c for c in folded if c.isdigit())[-10:]
    if column == "state":
        return _STATES.get(folded, folded)
    if column == "zip":
        return folded.zfill(5)
    return folded or None


class Agreement:
    """Looks at both sides of one settled day.

    :param rows: answers a query on the warehouse.
    :param same: complains where what is expected is not what is found.
    :param plan: the hash of the last plan.
    """

    def __init__(self, rows: Rows, same: Same, truth: Callable[[str], Iterator[Any]], plan: str) -> None:
        self._plan = plan
        self._rows = rows
        self._same = same
        self._truth = truth
        self._crm = {name: self._table(name) for name in TABLES}
        self._enerflo = {name: self._records(name) for name in TABLES}
        self._listed = self._listed_places()
        # The keys of rows that once named a record of Enerflo.
        self._gone = {
            (name, value): key
            for name, key, value in rows("select table_name, key, value from sync.agreed where is_link")
        }
        voided = self._enerflo["installs"].values()
        self._voided = {row["install_id"] for row in voided if row["status_name"] == "Voided"}

    def check(self, api: WritesApi, people: People) -> None:
        """Compare everything that must hold.

        :raises Divergence: something does not.
        """
        self._plans()
        self._written_once(api, people)
        self._same("records of Enerflo that the CRM lacks", [], self._missing_in_crm())
        self._same("rows of the CRM that Enerflo lacks", [], self._missing_in_enerflo())
        self._same("fields on which the sides do not agree", [], list(self._apart()))
        self._overwritten()
        self._replayed()

    # -- what there is --------------------------------------------------------------------------------------

    def _table(self, name: str) -> list[Row]:
        return [row for (row,) in self._rows(f"select to_jsonb(t) from crm.{name} t order by t::text")]

    def _records(self, name: str) -> dict[tuple[Any, ...], Row]:
        columns = list(TABLES[name].joins.values())
        found = [row._asdict() for row in self._truth(TABLES[name].truth)]
        return {tuple(row[column] for column in columns): row for row in found}

    def _listed_places(self) -> set[tuple[str, str, str | None]]:
        """Return what the last plan left to a person, or tried and was refused."""
        return {
            (table, _text(key), field)
            for table, key, field in self._rows(
                "select table_name, key, case when left(cause, 7) <> 'missing' then field end"
                f" from sync.plan_undecided where plan_hash = '{self._plan}'"
                " union select table_name, key, case when op = 'update' then field end"
                f" from sync.plan_changes where plan_hash = '{self._plan}' and state in ('parked', 'refused')"
            )
        }

    def _is_listed(self, table: str, key: Row, field: str | None = None) -> bool:
        text = _text(key)
        return (table, text, None) in self._listed or (
            field is not None and (table, text, field) in self._listed
        )

    def _key(self, name: str, row: Row) -> Row:
        return {column: row[column] for column in TABLES[name].key}

    def _join(self, name: str, row: Row) -> tuple[Any, ...]:
        return tuple(row[column] for column in TABLES[name].joins)

    # -- (b) both sides say the same ------------------------------------------------------------------------

    def _missing_in_crm(self) -> list[Any]:
        found = []
        for name, table in TABLES.items():
            counts = Counter(self._join(name, row) for row in self._crm[name])
            self._same(
                f"rows of crm.{name} for one record",
                [],
                [one for one in counts.items() if one[1] > 1 and None not in one[0]],
            )
            for join, record in self._enerflo[name].items():
                if join in counts or record.get("deleted_at") is not None:
                    continue
                key = self._gone.get((name, join[0])) or dict(zip(table.joins, join, strict=True))
                if record.get("install_id") not in self._voided and not self._is_listed(name, key):
                    found.append((name, join))
        return found

    def _missing_in_enerflo(self) -> list[Any]:
        return [
            (name, self._key(name, row))
            for name in ("notes", "leads")
            for row in self._crm[name]
            if self._join(name, row) == (None,)
            and (name == "notes" or row["status"] == "qualified")
            and not self._is_listed(name, self._key(name, row))
        ]

    def _apart(self) -> Iterator[Any]:
        """Yield fields of records that both sides have, that differ though policy says that they agree."""
        for name, table in TABLES.items():
            for row in self._crm[name]:
                record = self._enerflo[name].get(self._join(name, row))
                if record is None or record.get("deleted_at") is not None:
                    continue
                for column, theirs in table.fields.items():
                    mine, ours = plain(column, record[theirs]), plain(column, row[column])
                    if mine == ours or self._may_differ(name, column, mine, ours):
                        continue
                    if not self._is_listed(name, self._key(name, row), column):
                        yield name, self._key(name, row), column, record[theirs], row[column]

    def _may_differ(self, name: str, column: str, mine: Any, ours: Any) -> bool:
        # A null takes nothing away, whoever's value it is.
        if column in _BY_ENERFLO.get(name, ()):
            return mine is None
        if name == "leads":
            return ours is None
        if name == "notes":
            # Created, and never changed later.
            return column == "body"
        return mine is None or ours is None or (column == "status" and ours == "voided")

    # -- (c) nothing was written twice ----------------------------------------------------------------------

    def _written_once(self, api: WritesApi, people: People) -> None:
        self._same("writes that should not have come", [], api.faulty)
        often = {one: (n, people.notes[one]) for one, n in api.notes.items() if n > people.notes[one]}
        self._same("notes that came more often than the CRM has them", {}, often)
        keys = [row["integration_record_id"] for row in self._enerflo["leads"].values()]
        twice = [one for one in Counter(keys).items() if one[0] in people.leads and one[1] > 1]
        self._same("leads that are there twice", [], twice)

    # -- (f) plans and their changes ------------------------------------------------------------------------

    def _plans(self) -> None:
        self._same(
            "changes that stay under way",
            [],
            self._rows(
                "select c.table_name, c.key, c.field, c.state, p.state from sync.plan_changes c"
                " join sync.plans p using (account, plan_hash)"
                " where c.state = 'sent' or (c.state = 'planned' and p.state in ('applied', 'approved'))"
            ),
        )
        self._same(
            "changes without exactly one row of the ledger",
            [],
            self._rows(
                "select c.table_name, c.key, c.field, c.state, l.n from (select account, plan_hash, table_name,"
                "   key, op, field, state from sync.plan_changes where state not in ('planned', 'sent', 'superseded')) c"
                " left join (select account, plan_hash, table_name, key, op, field, decision, count(*) as n"
                "   from sync.ledger group by 1, 2, 3, 4, 5, 6, 7) l"
                "   on (l.account, l.plan_hash, l.table_name, l.key, l.op, l.decision)"
                "   = (c.account, c.plan_hash, c.table_name, c.key, c.op, c.state)"
                "   and l.field is not distinct from c.field"
                " where l.n is distinct from 1"
            ),
        )
        self._same(
            "rows of the ledger without a change",
            [],
            self._rows(
                "select l.table_name, l.key, l.field, l.decision from sync.ledger l where not exists ("
                " select from sync.plan_changes c where c.plan_hash = l.plan_hash and c.table_name = l.table_name"
                " and c.key = l.key and c.op = l.op and c.field is not distinct from l.field"
                " and c.state = l.decision)"
            ),
        )

    # -- (d) the ledger -------------------------------------------------------------------------------------

    def _overwritten(self) -> None:
        """Every value that a job wrote over another in the CRM is in the ledger with both."""
        known: Counter[Any] = Counter()
        for name, key, op, column, old, new in self._rows(
            "select table_name, key, op, field, old_value, new_value from sync.ledger"
            " where decision = 'applied' and direction = 'to_crm'"
        ):
            if op == "update" and column in TABLES[name].fields:
                known[name, _text(key), column, plain(column, old), plain(column, new)] += 1
        found: Counter[Any] = Counter()
        for name, before, after in self._rows(
            "select table_name, before, after from simulation.crm_written"
            " where op = 'update' and writer = 'simulation' order by n"
        ):
            for column in TABLES[name].fields:
                old, new = plain(column, before[column]), plain(column, after[column])
                if old != new:
                    found[name, _text(self._key(name, after)), column, old, new] += 1
        self._same("values that a job overwrote and the ledger does not know", {}, dict(found - known))

    def _replayed(self) -> None:
        """What the ledger says of the CRM from the beginning is what the CRM has."""
        rows: dict[tuple[str, str], Row] = defaultdict(dict)
        for name, key, op, column, new in self._rows(
            "select table_name, key, op, field, new_value from sync.ledger where decision = 'applied'"
            " order by ledger_id"
        ):
            if op == "delete":
                rows.pop((name, _text(key)), None)
            elif column in TABLES[name].fields:
                rows[name, _text(key)][column] = new
        alike = {
            (name, _text(key), field)
            for name, key, field in self._rows(
                "select table_name, key, field from sync.agreed where agreed_by = 'comparison'"
            )
        }
        wrong = []
        for name in TABLES:
            for row in self._crm[name]:
                key = self._key(name, row)
                record = self._enerflo[name].get(self._join(name, row))
                # What is edited of a row whose record is gone, or not there yet, is carried nowhere.
                said = rows.get((name, _text(key)), {}) if record is not None else {}
                for column, value in said.items():
                    mine, ours = plain(column, value), plain(column, row[column])
                    # Both sides said the same by themselves, or what differs is left to somebody.
                    excused = (name, _text(key), column) in alike or self._is_listed(name, key, column)
                    theirs = plain(column, (record or {})[TABLES[name].fields[column]])
                    if mine != ours and not excused and not self._stays_apart(name, column, theirs, ours):
                        wrong.append((name, key, column, value, row[column]))
        self._same("fields of which the ledger says something else than the CRM", [], wrong)

    def _stays_apart(self, name: str, column: str, mine: Any, ours: Any) -> bool:
        return bool(mine != ours and self._may_differ(name, column, mine, ours))


def _text(key: Row) -> str:
    return json.dumps(key, sort_keys=True)
