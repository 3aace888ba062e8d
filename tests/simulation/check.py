"""What must hold once the dust has settled: the mirror is true, and no event and no file is lost or counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from enerflo_sandbox import truth
from enerflo_sync.plan.parked import TRIED_AGAIN_AFTER
from tests.simulation.agreement import Agreement
from tests.simulation.declared import LentRow
from tests.simulation.divergence import Divergence
from tests.simulation.files import archived, content_of
from tests.simulation.mapped import first_name
from tests.simulation.shapes import LATE_HOURS
from tests.simulation.troubles import Trouble
from tests.simulation.world import SimulatedDay

SHOWN = 6
LAST_CHANGES = 4
# So often is planned and applied until nothing more is to be done.
MOST_ROUNDS = 6
# Events wait for a record that is not known for an hour, and between two tries up to 15 minutes.
PATIENCE_SECONDS = 80 * 60

MIRROR: dict[str, type[Any]] = {
    "installs": truth.InstallRow,
    "milestones": truth.MilestoneRow,
    "notes": truth.NoteRow,
    "customers": truth.CustomerRow,
    "change_orders": truth.ChangeOrderRow,
    "change_order_adders": truth.AdderRow,
    "install_statuses": truth.StatusRow,
}
_STILL = (
    *(f"enerflo.{name}" for name in MIRROR),
    *("enerflo.install_versions", "enerflo.submissions", "sync.webhook_events", "sync.webhook_moves"),
    "sync.quarantine",
)


class Check:
    """Looks at one settled day."""

    def __init__(self, day: SimulatedDay, engine: sa.Engine) -> None:
        self.day = day
        self.last_plan = ""
        self._engine = engine

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(statement)]

    def settle(self) -> None:
        """End the trouble, let the jobs run once more, and compare.

        :raises Divergence: something that must hold does not.
        """
        day = self.day
        # So that there is something to be told that no poll has seen.
        day.world.step(1, LAST_CHANGES)
        day.calm_down()
        if day.columns is not None and day.migrate() is None:
            raise Divergence(f"a quiet migration did not succeed: {day.story[-1]}")
        if day.plan.both_ways:
            self._come_to_rest()
        day.clock.advance(PATIENCE_SECONDS)
        self._succeeded("ingest", day.ingest())
        self._inbox()
        self._fresh()
        self._succeeded("poll", day.poll())
        self._no_new_note_is_missing()
        self._succeeded("poll", day.poll(full=True))
        self._mirror()
        self._history()
        before = self._digest()
        day.clock.advance(60)
        self._succeeded("ingest", day.ingest())
        self._succeeded("poll", day.poll())
        self._same("a quiet ingest and poll write no row", before, self._digest())
        if day.plan.both_ways:
            day.copies_follow(at_once=True)
            self._nothing_to_do()
            Agreement(self.rows, self._same, self._truth, self.last_plan, day.shape).check(
                day.api, day.people, day.promises
            )
            self._late_ones_are_said()
            for what, found in day.wide.check(self.rows, self.last_plan) if day.wide is not None else ():
                self._same(what, [], found)

    def _come_to_rest(self) -> None:
        """Plan and apply until a plan leaves nothing to do."""
        day = self.day
        resyncs = day.promises.resyncs
        # Nothing is concluded from rows that went at once before the table has stayed so for an hour.
        least = 3 if resyncs is not None and resyncs.gone else 1
        for done in range(1, MOST_ROUNDS + 1):
            day.clock.advance(PATIENCE_SECONDS)
            day.copies_follow(at_once=True)
            day.emitter.drain()
            self._succeeded("ingest", day.ingest())
            self._succeeded("poll", day.poll(full=True))
            self.last_plan = self._planned()
            if day.waiting_plan() is None:
                if day.team is not None and day.team.write_again():
                    least = done + 1
                if done >= least:
                    return
                continue
            # A round makes two plans at most: what the rules let through, and what waits for a person.
            for _ in range(2):
                if day.waiting_plan() is not None and day.apply() is None:
                    raise Divergence(f"a quiet apply did not succeed: {day.story[-1]}")
            if day.salesforce is not None and day.carry() is None:
                raise Divergence(f"what was to be carried was not: {day.story[-1]}")
        raise Divergence(
            "the two sides do not come to rest:\n" + "\n".join(map(str, self._still_changing()[:SHOWN]))
        )

    def _still_changing(self) -> list[tuple[Any, ...]]:
        return self.rows(
            "select c.direction, c.table_name, c.key, c.op, c.field, c.before, c.after, c.state, c.reason"
            f" from told.plan_changes c where plan_hash = '{self.last_plan}' order by c.position"
        )

    def _planned(self) -> str:
        plan = self.day.make_plan()
        if plan is None:
            raise Divergence(f"a quiet plan did not succeed: {self.day.story[-1]}")
        return plan.plan_hash

    def _nothing_to_do(self) -> None:
        """A further plan is empty but for what was refused before, and what is tried again after a day."""
        self.last_plan = self._planned()
        left = [row for row in self._still_changing() if row[7] not in ("parked", "refused")]
        # The settling may last so long that the day of a parked change ends in it.
        until = self.day.clock.now() - TRIED_AGAIN_AFTER
        parked = self.rows(
            "select direction, table_name, key, op, case op when 'update' then field end from told.plan_changes"
            f" where state = 'parked' group by 1, 2, 3, 4, 5 having max(done_at) <= '{until.isoformat()}'"
        )
        due = {str(row) for row in parked}
        left = [row for row in left if str((*row[:4], row[4] if row[3] == "update" else None)) not in due]
        self._same("changes of a further plan", [], left)

    def _late_ones_are_said(self) -> None:
        """What was handed over and did not arrive in time is no all-clear.

        A table that is written directly by now has no time in which a change arrives.
        """
        mapped = self.day.configuration().tables_for(self.day.account)
        followed = {first_name(name) for name, one in mapped.items() if one.handed_to is not None}
        late = self.rows(
            'select table_name, key, "column", coalesce(acknowledged_at, made_at) from told.crm_changes'
            " where state = 'open' and ended_at is null and op = 'update' and kind = 'sync'"
        )
        limit = self.day.clock.now() - timedelta(hours=LATE_HOURS)
        due = sorted({row[0] for row in late if row[0] in followed and row[3] < limit})
        (report,) = self.rows("select report from sync.reconciliations order by started_at desc limit 1")
        said = {
            first_name(table["table_name"])
            for table in report[0]["tables"]
            if any("late" in remark for remark in table["remarks"])
        }
        self._same(
            "tables whose late changes the report does not tell", [], [one for one in due if one not in said]
        )

    # -- parts ----------------------------------------------------------------------------------------------

    def _inbox(self) -> None:
        """Every delivered event is there once, with its copies, in one final state; every file is archived."""
        stored = self.rows("select body::text, copies, state, reason, record, event from sync.webhook_events")
        counted: Counter[bytes] = Counter()
        for body, copies, *_ in stored:
            counted[content_of(body)] += copies
        self._same(
            "delivered copies of events", self._by_name(self.day.postbox.delivered), self._by_name(counted)
        )
        self._same("rows of webhook_events", len(self.day.postbox.delivered), len(stored))
        waiting = [(row[5], row[3]) for row in stored if row[2] == "received"]
        self._same("events that still wait", [], waiting)
        wrong = [
            (row[5], row[3], row[4]) for row in stored if row[2] == "quarantined" and not self._hopeless(row)
        ]
        self._same("quarantined events whose record is there", [], wrong)
        self._same("files in the drop", [], sorted(path.name for path in self.day.drop.rglob("*")))
        self._same("archived files", _named(self.day.postbox.files), _named(archived(self.day.archive)))
        self._same("moves that were not forgotten", [], self.rows("select files from sync.webhook_moves"))

    def _by_name(self, contents: Counter[bytes]) -> dict[str, int]:
        return {
            content[-60:].decode(errors="replace") + str(hash(content)): n for content, n in contents.items()
        }

    def _hopeless(self, row: tuple[Any, ...]) -> bool:
        """Return whether an event was rightly put aside: no id in it, no such record, or a misleading answer."""
        _, _, _, reason, record, _ = row
        if record is None or (reason.startswith("not_readable") and self.day.plan.faults):
            return True
        subject, _, key = record.partition("/")
        world = self.day.world
        plan = self.day.plan
        if reason == "not_listed" and plan.rate(Trouble.SHORT_PAGES):
            # Looked for as long as an event waits, in a list that answers with less than it has.
            return True
        if subject == "customers":
            return not key.isdigit() or not world.customers.exists(int(key))
        deal = subject == "deals"
        number = world.installs.number_of_deal(key) if deal else world.installs.number_of(int(key))
        # One that came while its record was spoilt waits for a person (replay), as everything put aside.
        return number is None or number in self.day.ever_bad

    def _fresh(self) -> None:
        """An applied event means that its record was read after the event came."""
        updated = self.day.updated
        late = []
        for event, install_id, received_at, seen in self.rows(
            "select e.event, e.install_id, e.received_at, i.updated_at from sync.webhook_events e"
            " left join enerflo.installs i on i.install_id = e.install_id and i.deleted_at is null"
            " where e.state = 'applied' and e.record ~ '^(installs|deals|change_orders_of)/'"
        ):
            number = self.day.world.installs.number_of(install_id) if install_id is not None else None
            if number is None or number in self.day.ever_bad:
                continue
            known = [moment for moment in updated.get(("installs", install_id), []) if moment <= received_at]
            if known and (seen is None or seen < max(known)):
                late.append((event, install_id, received_at, seen))
        self._same("applied events whose record was not read after they came", [], late)

    def _no_new_note_is_missing(self) -> None:
        """What was created reaches the mirror by the incremental read alone.

        Notes that a last page lacked wait for the next reading of all notes: that answer shows nothing.
        """
        stored = {note_id for (note_id,) in self.rows("select note_id from enerflo.notes")}
        stored |= self.day.api.withheld
        missing = [row.note_id for row in self.day.world.truth.notes() if row.note_id not in stored]
        self._same("notes that the incremental read never brought", [], missing)

    def _mirror(self) -> None:
        """Each table equals the company's truth, row by row and column by column."""
        for table, kind in self._kinds().items():
            columns = ", ".join(kind._fields)
            where = "true" if table == "notes" else "deleted_at is null"
            found = self.rows(f"select {columns} from enerflo.{table} where {where}")
            expected = [tuple(row) for row in self._truth(table)]
            if table == "notes":
                # Of a deleted install's notes the company says nothing any more.
                known = {row[0] for row in expected}
                found = [row for row in found if row[0] in known or row[-1] is None]
            self._same(f"rows of {table}", sorted(expected, key=_key), sorted(found, key=_key))

    def _kinds(self) -> dict[str, type[Any]]:
        """Return what a row of each table is; of installs with the declared column, where there is one."""
        return MIRROR if self.day.columns is None else {**MIRROR, "installs": LentRow}

    def _truth(self, table: str) -> Iterator[Any]:
        facts = self.day.world.truth
        return {
            "installs": facts.installs,
            "milestones": facts.milestones,
            "notes": facts.notes,
            "customers": facts.customers,
            "change_orders": facts.change_orders,
            "change_order_adders": facts.adders,
            "install_statuses": facts.statuses,
        }[table]()

    def _history(self) -> None:
        """Every version that was ever written is kept, and none was overwritten by an older one."""
        lost = self.rows(
            "select install_id, content_hash from simulation.written w where not exists (select from"
            " enerflo.install_versions v where v.install_id = w.install_id and v.content_hash = w.content_hash)"
        )
        self._same("versions that were written and not kept", [], lost)
        older = self.rows(
            "select install_id, before, updated_at from (select install_id, updated_at, lag(updated_at)"
            " over (partition by install_id order by n) as before from simulation.written) w"
            " where updated_at < before"
        )
        self._same("installs that went back in time", [], [] if self.day.ever_bad else older)
        open_records = self.rows(
            "select key, reason from sync.quarantine where kind = 'record' and state = 'open'"
        )
        self._same("records that stay in quarantine although they are right", [], _keyed(open_records))
        wrong = self.rows("select run_id from sync.runs where state <> 'failed' and finished_at is null")
        self._same("runs that ended without an end", [], wrong)

    def _digest(self) -> dict[str, Any]:
        """Return what every row is, and which version of it."""
        ignored = " - 'detail_read_at'" if self.day.plan.lean_lists else ""
        physical = "" if self.day.plan.lean_lists else " || xmin::text"
        statement = " union all ".join(
            f"select '{name}', count(*), md5(string_agg((to_jsonb(t){ignored})::text{physical}, ',' order by"
            f" (to_jsonb(t){ignored})::text)) from {name} t"
            for name in _STILL
        )
        return {name: (count, digest) for name, count, digest in self.rows(statement)}

    # -- reporting ------------------------------------------------------------------------------------------

    def _succeeded(self, job: str, report: Any) -> None:
        if report is None:
            raise Divergence(f"a quiet {job} did not succeed: {self.day.story[-1]}")
        # Bad input of the events themselves stays partial; what could not be read must not be.
        if "incomplete" in report.reasons:
            raise Divergence(f"a quiet {job} is incomplete: {report.reasons['incomplete']}")

    def _same(self, what: str, expected: Any, found: Any) -> None:
        if expected == found:
            return
        lines = [f"{what}:"]
        if isinstance(expected, dict):
            keys = sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key))
            lines += [
                f"  {key}: expected {expected.get(key)}, found {found.get(key)}" for key in keys[:SHOWN]
            ]
        elif isinstance(expected, list):
            lines += [f"  expected {row}" for row in _without(expected, found)[:SHOWN]]
            lines += [f"  found    {row}" for row in _without(found, expected)[:SHOWN]]
        else:
            lines.append(f"  expected {expected}, found {found}")
        raise Divergence("\n".join(lines))


def _key(row: tuple[Any, ...]) -> str:
    return repr(row)


def _keyed(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [row for row in rows if row[0] is not None]


def _without(rows: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    return [row for row in rows if row not in others]


def _named(files: Counter[tuple[str, bytes]]) -> dict[str, int]:
    """Return files by content; the archive gives one whose name is taken a longer name."""
    counts: Counter[str] = Counter()
    for (name, data), count in files.items():
        counts[f"{name[:5]} {len(data)} bytes {hash(data):x}"] += count
    return dict(counts)
