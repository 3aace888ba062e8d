"""What must hold between the two sides once the dust has settled: they agree, and nothing was written twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.simulation.people import People, number_of_note
from tests.simulation.promises import Promises
from tests.simulation.sides import Sides, text_of
from tests.simulation.values import Row
from tests.simulation.writes import WritesApi


class Agreement(Sides):
    """Looks at both sides of one settled day."""

    def check(self, api: WritesApi, people: People, promises: Promises) -> None:
        """Compare everything that must hold.

        :raises Divergence: something does not.
        """
        self._api, self._people, self._refusals = api, people, promises.refusals
        self._undone = promises.undone
        self._plans()
        self._written_once()
        self._accepted()
        self._same("records of Enerflo that the CRM lacks", [], self._missing_in_crm())
        self._same("rows of the CRM that Enerflo lacks", [], self._missing_in_enerflo())
        self._same("fields on which the sides do not agree", [], list(self._apart()))
        self._overwritten()
        self._replayed()

    # -- (b) both sides say the same ------------------------------------------------------------------------

    def _missing_in_crm(self) -> list[Any]:
        found = []
        for name in self._tables:
            counts = Counter(self._join(name, row) for row in self._crm[name])
            twice = [one for one, n in counts.items() if n > 1 and None not in one]
            # What people have copied or given the same link, they have to part again.
            made = Counter(one for one in self._made_by_jobs(name) if one in twice)
            self._same(f"rows of crm.{name} for one record", [], [one for one in made.items() if one[1] > 1])
            for join, record in self._enerflo[name].items():
                if join in counts or record.get("deleted_at") is not None or self._has_no_value(name, record):
                    continue
                install = record.get("install_id")
                # With the row of an install all that belongs to it is refused.
                if install in self._voided or self._refusals.holds("installs", None, (install,)):
                    continue
                if self._refusals.holds(name, None, join) or self._refusals.holds_link(name, join):
                    continue
                key, link = self._gone.get((name, join[0])), self._shape.link_of(name, join)
                if self._undone.keeps_away(name, join):
                    continue
                if self._is_on_its_way(name, link) or join in self._outside[name]:
                    continue
                keys = [key or {}, link, self._new_keys.get((name, join), {})]
                if name == "notes":
                    # The key of a new row, as sync.yaml makes it.
                    keys.append({"note_id": f"enerflo-{join[0]}"})
                if not any(self._is_listed(name, one) for one in keys):
                    found.append((name, join))
        return found

    def _has_no_value(self, name: str, record: Row) -> bool:
        """Return whether a new row would get nothing but its key, so that none is made."""
        return not self._shape.own_keys and all(
            record[mine] is None for mine in self._shape.mapped(name).values()
        )

    def _made_by_jobs(self, name: str) -> list[tuple[Any, ...]]:
        """Return the records of rows that jobs have made."""
        rows = self._rows(
            "select after from simulation.crm_written where op = 'insert' and writer = 'simulation'"
            f" and table_name = '{name}'"
            f" and after in (select to_jsonb(t) - 'ctid' from {self._shape.seen}.{name} t)"
        )
        return [self._join(name, row) for (row,) in rows]

    def _missing_in_enerflo(self) -> list[Any]:
        return [
            (name, self._key(name, row))
            for name in ("notes", "leads")
            for row in self._crm[name]
            if self._join(name, row) == (None,)
            and (name == "notes" or row["status"] == "qualified")
            and not self._is_listed(name, self._key(name, row))
            and not self._has_a_link_on_its_way(name, row)
            and not self._refusals.holds(name, row, None)
        ]

    def _has_a_link_on_its_way(self, name: str, row: Row) -> bool:
        key = self._key(name, row)
        return any(self._is_on_its_way(name, key, column) for column in self._tables[name].joins)

    def _apart(self) -> Iterator[Any]:
        """Yield fields of records that both sides have, that differ though policy says that they agree."""
        for name in self._tables:
            for row in self._crm[name]:
                join = self._join(name, row)
                record = self._enerflo[name].get(join)
                if record is None or record.get("deleted_at") is not None:
                    continue
                for column, theirs in self._shape.mapped(name).items():
                    mine = self._plain(name, column, record[theirs])
                    ours = self._plain(name, column, row[column])
                    if mine == ours or self._shape.tolerates(name, column, mine, ours):
                        continue
                    if self._may_differ(name, column, mine, ours):
                        continue
                    if self._is_kept_as(name, join, column, record[theirs], row[column]):
                        continue
                    if not self._is_left(name, row, column):
                        yield name, self._key(name, row), column, record[theirs], row[column]

    def _is_left(self, name: str, row: Row, column: str) -> bool:
        """Return whether a field is left to somebody, or was refused; two rows of one record are one thing."""
        join = self._join(name, row)
        return (
            self._is_listed(name, self._key(name, row), column)
            or self._is_listed(name, self._shape.link_of(name, join))
            or self._refusals.holds(name, row, join, column)
            or self._undone.keeps(name, join, column, row)
            or (name, text_of(self._key(name, row)), column) in self._on_their_way
        )

    def _is_kept_as(self, name: str, join: tuple[Any, ...], column: str, mine: Any, ours: Any) -> bool:
        """Return whether Enerflo has what it made of the CRM's value itself."""
        if name == "notes":
            return self._was_sent_for(join, mine)
        sent, stored = self._api.kept.get((name, join, column), (None, None))
        if sent is None or stored is None:
            return False
        plain = self._plain
        return bool(plain(name, column, sent) == plain(name, column, ours) and stored == mine)

    def _was_sent_for(self, note: tuple[Any, ...], install: Any) -> bool:
        """Return whether a note was sent for an install: people may have moved it to another one meanwhile."""
        sent = [one.values["install"] for one in self._api.writes if (one.note_id,) == note]
        return str(install) in map(str, sent)

    def _may_differ(self, name: str, column: str, mine: Any, ours: Any) -> bool:
        # A null takes nothing away, whoever's value it is.
        if name == "notes":
            # Created, and never changed later; of a copy, people may have moved the note while it was sent.
            return column == "body" or self._shape.copied
        policy = self._shape.policy(name, column)
        if policy in ("enerflo", "crm"):
            is_voided = policy == "crm" and column == "status" and ours == "voided"
            return (mine if policy == "enerflo" else ours) is None or is_voided
        return mine is None or ours is None or (column == "status" and ours == "voided")

    # -- (c) nothing was written twice ----------------------------------------------------------------------

    def _written_once(self) -> None:
        self._same("writes that should not have come", [], self._api.faulty)
        came = Counter(
            number_of_note(str(one.values["body"])) for one in self._api.writes if one.table == "notes"
        )
        often = {one: n for one, n in came.items() if one is not None and n > len(self._people.notes[one])}
        self._same("notes that came more often than the CRM has them", {}, often)
        keys = [row["integration_record_id"] for row in self._enerflo["leads"].values()]
        twice = [one for one in Counter(keys).items() if one[0] in self._people.leads and one[1] > 1]
        self._same("leads that are there twice", [], twice)

    def _accepted(self) -> None:
        """What Enerflo accepted, and said so to a job that lived on, is the CRM's from then on."""
        lived = [one for one in self._api.writes if one.answered and one.process.ended_at is None]
        rows = {row["note_id"]: row for row in self._crm["notes"]}
        named = {row["enerflo_note_id"]: row["note_id"] for row in self._crm["notes"]}
        lost = []
        for one in lived:
            number = number_of_note(str(one.values.get("body"))) if one.table == "notes" else None
            keys = self._people.notes.get(-1 if number is None else number, [])
            waiting = [
                key
                for key in keys
                if key in rows
                and rows[key]["enerflo_note_id"] is None
                # A person refused that the row gets its id.
                and not self._is_listed("notes", {"note_id": key}, "enerflo_note_id")
                and not self._has_a_link_on_its_way("notes", rows[key])
            ]
            if waiting and named.get(one.note_id) not in keys:
                lost.append((one.note_id, waiting, named.get(one.note_id)))
        self._same("notes that Enerflo accepted and their CRM rows do not name", [], lost)
        # What a job sent, and could not read again, may be found by a later plan that took it over.
        ends = {
            (plan, position): decision
            for plan, position, decision in self._rows(
                "select c.plan_hash, c.position, coalesce(found.state, c.state) from told.plan_changes c"
                " left join lateral (select f.state from told.plan_changes f where f.state = 'applied'"
                "   and (f.table_name, f.field, f.enerflo_key, f.sent_at)"
                "   = (c.table_name, c.field, c.enerflo_key, c.sent_at) limit 1) found on true"
                " where c.direction = 'to_enerflo'"
            )
        }
        last = {(one.table, one.record, column): one for one in self._api.writes for column in one.values}
        given_up = [
            (one.words, change.column, ends[change.plan, change.position])
            for one in lived
            for change in one.under_way
            # A lead that is made has no record yet. What was written once more since is judged by that.
            if change.column in one.values
            and change.record == one.record
            and last[one.table, one.record, change.column] is one
            and self._is_still_kept(one.table, one.record, change.column)
            and ends[change.plan, change.position] != "applied"
        ]
        self._same("writes that Enerflo accepted and the ledger calls otherwise", [], given_up)

    def _is_still_kept(self, table: str, record: Any, column: str) -> bool:
        return (table, record, column) in self._api.kept

    # -- (f) plans and their changes ------------------------------------------------------------------------

    def _plans(self) -> None:
        # Elsewhere, an undo withdraws what an application that was cut off had not brought to the CRM yet.
        hands_over = self._shape.copied or self._shape.elsewhere or self._shape.yaml.ever_rerouted
        told = "'handed_over', 'superseded'" if hands_over else "'handed_over'"
        self._same(
            "changes that stay under way",
            [],
            self._rows(
                "select c.table_name, c.key, c.field, c.state, p.state from told.plan_changes c"
                " join sync.plans p using (account, plan_hash)"
                # What was approved under another name of the account is refused by the guard of its company.
                " where p.account = 'default'"
                " and (c.state = 'sent' or (c.state = 'planned' and p.state in ('applied', 'approved')))"
            ),
        )
        self._same(
            "changes without exactly one row of the ledger",
            [],
            self._rows(
                "select c.table_name, c.key, c.field, c.state, l.n from (select account, plan_hash, table_name,"
                "   key, op, field, c.state from told.plan_changes c join sync.plans p using (account, plan_hash)"
                "   where c.state not in ('planned', 'sent', 'superseded')"
                # What a person left out of a part, of a plan whose place a later one took: nobody decided it.
                "     and not (c.state = 'left_out' and p.state in ('superseded', 'expired'))) c"
                " left join (select account, plan_hash, table_name, key, op, field, decision, count(*) as n"
                "   from told.ledger group by 1, 2, 3, 4, 5, 6, 7) l"
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
                "select l.table_name, l.key, l.field, l.decision from told.ledger l"
                # What was handed over is told by a row, and what became of it by one more.
                f" where l.decision not in ({told}) and not exists ("
                " select from told.plan_changes c where c.plan_hash = l.plan_hash and c.table_name = l.table_name"
                " and c.key = l.key and c.op = l.op and c.field is not distinct from l.field"
                # What was sent is found at Enerflo after a later plan took its place, or after it was parked unread.
                " and (c.state = l.decision"
                "   or l.decision in ('superseded', 'parked') and c.state = 'applied' and c.sent_at is not null))"
            ),
        )

    # -- (d) the ledger -------------------------------------------------------------------------------------

    def _overwritten(self) -> None:
        """Every value that a job wrote over another in the CRM is in the ledger with both."""
        known: Counter[Any] = Counter()
        # Of a write that lost its answer, and over which a person wrote before the next look, nobody can know.
        unknown = ", 'superseded'" if self._shape.elsewhere else ""
        for name, key, op, column, old, new in self._rows(
            "select table_name, key, op, field, old_value, new_value from told.ledger"
            f" where decision in ('applied'{unknown}) and direction = 'to_crm'"
        ):
            if op == "update" and name in self._tables and column in self._tables[name].fields:
                known[
                    name, text_of(key), column, self._plain(name, column, old), self._plain(name, column, new)
                ] += 1
        found: Counter[Any] = Counter()
        for name, before, after, writer in self._rows(
            "select table_name, before, after, writer from simulation.crm_written where op = 'update' order by n"
        ):
            for column in self._tables[name].fields if name in self._tables else ():
                old, new = self._plain(name, column, before[column]), self._plain(name, column, after[column])
                place = name, text_of(self._key(name, after)), column
                if old != new and writer == "simulation":
                    found[*place, old, new] += 1
                elif old != new and self._shape.elsewhere:
                    # Nor of one that a load took back.
                    found[*place, new, old] -= 1
        self._same("values that a job overwrote and the ledger does not know", {}, dict(found - known))

    def _replayed(self) -> None:
        """What the ledger says of the CRM from the beginning is what the CRM has."""
        rows: dict[tuple[str, str], Row] = defaultdict(dict)
        for name, key, op, column, new in self._rows(
            "select table_name, key, op, field, new_value from told.ledger where decision = 'applied'"
            " order by ledger_id"
        ):
            if op == "delete":
                rows.pop((name, text_of(key)), None)
            elif name in self._tables and column in self._shape.mapped(name):
                rows[name, text_of(key)][column] = new
        # What a row that we made has in other columns is agreed on with the last of those that we wrote.
        alike = {
            (name, text_of(key), field)
            for name, key, field in self._rows(
                "select a.table_name, a.key, a.field from told.agreed a where a.agreed_by = 'comparison'"
                " or a.agreed_by = 'push' and not exists (select from told.ledger l where l.decision = 'applied'"
                " and (l.table_name, l.key, l.field) = (a.table_name, a.key, a.field)"
                " and l.recorded_at >= a.agreed_at)"
            )
        }
        wrong = []
        for name in self._tables:
            for row in self._crm[name]:
                key = self._key(name, row)
                record = self._enerflo[name].get(self._join(name, row))
                # What is edited of a row whose record is gone, or not there yet, is carried nowhere.
                said = rows.get((name, text_of(key)), {}) if record is not None else {}
                for column, value in said.items():
                    mine, ours = self._plain(name, column, value), self._plain(name, column, row[column])
                    # Both sides said the same by themselves, or what differs is left to somebody.
                    excused = (name, text_of(key), column) in alike or self._is_left(name, row, column)
                    excused = excused or (
                        name == "notes" and self._was_sent_for(self._join(name, row), value)
                    )
                    theirs = self._plain(name, column, (record or {})[self._tables[name].fields[column]])
                    if mine != ours and not excused and not self._stays_apart(name, column, theirs, ours):
                        wrong.append((name, key, column, value, row[column]))
        self._same("fields of which the ledger says something else than the CRM", [], wrong)

    def _stays_apart(self, name: str, column: str, mine: Any, ours: Any) -> bool:
        tolerated = self._shape.tolerates(name, column, mine, ours)
        return bool(tolerated or (mine != ours and self._may_differ(name, column, mine, ours)))
