"""What must hold at every moment of a day, looked after while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg

from enerflo_sandbox.changes import Change, Origin
from enerflo_sandbox.other_company import ID_SHIFT
from enerflo_sync.clock import Clock
from tests.simulation.copied import Courier
from tests.simulation.declared import FilledColumn
from tests.simulation.desk import Desk
from tests.simulation.divergence import Divergence
from tests.simulation.handed import HandedOver
from tests.simulation.lineage import Lineage
from tests.simulation.loads import Loads
from tests.simulation.mapped import Mapped
from tests.simulation.newest import Newest
from tests.simulation.refusals import Refusals
from tests.simulation.resync import Resyncs
from tests.simulation.shapes import Shape
from tests.simulation.sources import Sources
from tests.simulation.spelled import Spelled
from tests.simulation.truths import Truths
from tests.simulation.undone import Undone
from tests.simulation.values import Row
from tests.simulation.watch import Watch, Written
from tests.simulation.wide import Wide
from tests.simulation.writes import Arrival, WritesApi

Record = tuple[Any, ...]
SHOWN = 6
# What a job takes for the present moment follows the server's clock to the second.
_SLACK = timedelta(seconds=1)
_AHEAD = " union all ".join(
    f"select '{table} ' || {name}, {stamp} from {table} where {stamp} > %(now)s"
    for table, name, stamp in (
        ("enerflo.installs", "install_id", "observed_at"),
        ("enerflo.notes", "note_id", "observed_at"),
        ("enerflo.customers", "customer_id", "observed_at"),
        ("sync.webhook_events", "event_id", "received_at"),
        ("sync.watermarks", "name", "value"),
    )
)
# Records that the mirror has given up, and the tables whose ids Enerflo gives.
_BURIED = "select install_id from enerflo.installs where deleted_at is not null"
_STRANGE = " union all ".join(
    f"select '{table}', {column} from enerflo.{table} where {column} > {ID_SHIFT}"
    for table, column in (
        ("installs", "install_id"),
        ("notes", "note_id"),
        ("customers", "customer_id"),
        ("change_orders", "change_order_id"),
    )
)


class Promises:
    """Watches the CRM's rows and Enerflo's requests.

    :param ever_bad: numbers of installs that were once served spoilt.
    :param clock: the server's clock.
    :param sources: the CRM's rows are looked at behind each request, too.
    :param newest: it is looked after that the later change stands.
    :ivar column: looks at the declared column, where there is one, and ``resyncs`` at rows that went at once,
        ``handed`` at changes that are handed over.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        api: WritesApi,
        shape: Shape,
        ever_bad: set[int],
        clock: Clock,
        *,
        sources: bool,
        newest: bool = False,
    ) -> None:
        self.watch = Watch(connection, shape)
        self.column: FilledColumn | None = None
        self.resyncs: Resyncs | None = None
        self.handed: HandedOver | None = None
        self.spelled: Spelled | None = None
        self.truths: Truths | None = None
        self._connection = connection
        self._api = api
        self._shape = shape
        self._ever_bad = ever_bad
        self._clock = clock
        self.lineage = Lineage(shape, self.watch, self.stands, self.stored)
        self.refusals = Refusals(connection, shape, self.watch, self.stands)
        self.sources = Sources(connection, shape, self.watch, self.stands, api.kept)
        self.undone = Undone(connection, shape, self.watch, clock, self.refusals, self.stands)
        self.watch.listeners += [
            *(self.lineage.written, self.undone.written),
            *(self._but_undos(one) for one in (self.refusals.written, self._written)),
        ]
        self.watch.transactions.append(self.lineage.transaction_ends)
        api.arrivals += [
            lambda _: self.watch.look(),
            *([self._but_undos(self.sources.arrived)] if sources else []),
            *(self._but_undos(one) for one in (self.lineage.arrived, self.refusals.arrived)),
            self.undone.arrived,
        ]
        api.world.listeners += [self._changed, self.undone.changed]
        self.newest: Newest | None = None
        if newest:
            self.newest = later = Newest(
                shape,
                self.watch,
                clock,
                self.stands,
                self.stored,
                self._planned,
                connection if shape.copied else None,
            )
            self.watch.listeners.append(
                lambda one: later.taken_back(one) if self._is_of_undo(one) else later.written(one)
            )
            api.arrivals.append(self._but_undos(later.arrived))
            api.world.listeners.append(lambda change: (self.watch.look(), later.changed(change)))

    def are_edited(self, fits: Callable[[], bool]) -> None:
        """Look from now on after the mapping of each moment.

        :param fits: returns whether sync.yaml fits the CRM's tables.
        """
        truths = self.truths = Truths(
            self._connection, self._shape, self.watch, (self.stands, self.stored), fits
        )
        self.watch.listeners.append(self._but_undos(truths.written))
        self._api.arrivals.append(self._but_undos(truths.arrived))
        self._shape.yaml.listeners.append(self._edited)

    def _edited(self, before: Mapped, now: Mapped) -> None:
        """Take note of another mapping."""
        self.refusals.company_changed()
        if before.labels == now.labels:
            return
        if self.truths is not None:
            self.truths.remeant()
        if self.newest is not None:
            self.newest.remeant("installs", "status")
        if self.handed is not None:
            self.handed.remeant()

    def are_wide(self, wide: Wide) -> None:
        """Look from now on after milestones that stand in columns of one row."""
        self.sources.wide = wide
        self.watch.listeners.append(self._but_undos(wide.written))
        self._api.arrivals.append(self._but_undos(wide.arrived))
        self._api.world.listeners.append(wide.changed)

    def are_loaded(self, desk: Desk, seed: int, rate: float) -> Loads:
        """Return what loads tables anew, and look from now on after what comes of it."""
        loads = Loads(desk, self._shape, self.watch, seed, rate)
        self.watch.listeners.append(loads.written)
        self._api.arrivals.append(self._but_undos(loads.arrived))
        return loads

    def _is_of_undo(self, done: Written | Arrival) -> bool:
        """Return whether a write was made by an undo: it brings back what was there, whoever says it by now."""
        return self.undone.at_work and not (isinstance(done, Written) and done.by_people)

    def _but_undos(self, listener: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a listener that is not told of what an undo writes."""
        return lambda done: None if self._is_of_undo(done) else listener(done)

    def are_handed_over(self, courier: Courier) -> None:
        """Look from now on after changes that a courier carries."""
        self.handed = HandedOver(
            self._connection, self._shape, self.watch, self.refusals, courier, self.stands
        )
        self.watch.listeners.append(self.handed.written)
        self._api.arrivals.append(self.handed.arrived)

    @contextmanager
    def planning(self) -> Iterator[Callable[[str], None]]:
        """Let a plan be made; what is yielded is told its hash, where it was."""
        with ExitStack() as stack:
            looked_after = (self.lineage, self.resyncs, self.spelled)
            if self.truths is not None:
                self.truths.look()
            looks = [stack.enter_context(one.planning()) for one in looked_after if one is not None]

            def was_made(plan_hash: str) -> None:
                for look in looks:
                    look(plan_hash)
                if self.handed is not None:
                    self.handed.was_made()

            yield was_made
        self.refusals.note_plans()

    def stands(self, table: str, record: Record) -> Row | None:
        """Return what Enerflo has of a record in the CRM's columns, None where there is none."""
        declared = self._shape.tables[table]
        facts = self._api.world.truth
        for row in {
            "installs": facts.installs,
            "milestones": facts.milestones,
            "notes": facts.notes,
            "customers": facts.customers,
            "change_orders": facts.change_orders,
        }[declared.truth]():
            found = row._asdict()
            if tuple(found[name] for name in declared.joins.values()) == record:
                gone = found.get("deleted_at") is not None
                return None if gone else {column: found[name] for column, name in declared.fields.items()}
        return None

    def stored(self, table: str, record: Record) -> Row | None:
        """Return what the mirror has of a record in the CRM's columns, None where there is none."""
        if not all(isinstance(one, int) for one in record):
            # An id in another spelling names none.
            return None
        declared = self._shape.tables[table]
        # A declared column is not there until it is made.
        columns = ", ".join(
            f"'{column}', to_jsonb(t) -> '{name}'" for column, name in declared.fields.items()
        )
        where = " and ".join(f"{name} = %s" for name in declared.joins.values())
        row = self._connection.execute(
            f"select jsonb_build_object({columns}) from enerflo.{declared.truth} t"
            f" where {where} and deleted_at is null".encode(),
            record,
        ).fetchone()
        return None if row is None else row[0]

    def _planned(self, since: datetime, until: datetime) -> bool:
        found = self._connection.execute(
            "select exists (select from sync.plans where created_at > %s and created_at <= %s)",
            (since, until),
        ).fetchone()
        return bool(found and found[0])

    def _changed(self, change: Change) -> None:
        if change.origin is Origin.COMPANY and self.refusals.active:
            self.watch.look()
            self.refusals.company_changed()

    def _written(self, written: Written) -> None:
        """A job does not bring Enerflo's spelling of the CRM's own value into the CRM."""
        if written.by_people or written.op != "update" or written.before is None or written.after is None:
            return
        if written.table not in self._shape.tables:
            return
        record = self._shape.join_of(written.table, written.after)
        for column, before in written.before.items():
            sent, stored = self._api.kept.get((written.table, record, column), (None, None))
            after, plain = written.after[column], self._shape.plain
            if sent is None or before == after or stored is None:
                continue
            mine, theirs = plain(written.table, column, sent), plain(written.table, column, stored)
            said = (plain(written.table, column, before), plain(written.table, column, after))
            if mine != theirs and said == (mine, theirs):
                self.watch.breaks(
                    f"crm.{written.table} {record}: Enerflo's spelling of the CRM's own {column} overwrote it"
                )

    def after_a_job(self, *, nobody_writes: bool) -> None:
        """Look at everything once more.

        :raises Divergence: a promise is broken.
        """
        self.watch.look(nobody_writes=nobody_writes)
        if self.truths is not None:
            self.truths.look()
        if self.handed is not None:
            self.handed.look()
        self.undone.look()
        self.lineage.agree()
        self._mirror()
        self._stamps()
        self._old_key()
        for text in self.column.wrong() if self.column is not None else ():
            self.watch.breaks(text)
        if self.watch.broken:
            raise Divergence("\n".join(["broken while the day ran:", *self.watch.broken[:SHOWN]]))

    def _mirror(self) -> None:
        installs = self._api.world.installs
        for (install_id,) in self._connection.execute(_BURIED).fetchall():
            number = installs.number_of(install_id)
            if number is not None and installs.is_live(number) and number not in self._ever_bad:
                self.watch.breaks(f"install {install_id} is there, and the mirror says that it was deleted")
        for table, one in self._connection.execute(_STRANGE).fetchall():
            self.watch.breaks(f"enerflo.{table} has {one} of another company")
        other = self._api._other_company
        for received in other.world.received if other is not None else ():
            self.watch.breaks(f"another company got {received.method} {received.path}")

    def _stamps(self) -> None:
        """No stamp of a job lies in the future of the server, whatever the worker's clock says."""
        ahead = self._connection.execute(_AHEAD.encode(), {"now": self._clock.now() + _SLACK})
        for what, stamp in ahead.fetchall():
            self.watch.breaks(f"{what} is dated {stamp}: that is in the future")

    def _old_key(self) -> None:
        """What met a key that is not accepted any more waits: nobody refused the change itself."""
        for change in self._api.met_old_key:
            query = (
                "select table_name, key, state from told.plan_changes where plan_hash = %s and position = %s"
            )
            found = self._connection.execute(query, [change.plan, change.position]).fetchone()
            if found is not None and found[2] not in ("planned", "sent"):
                table, key, state = found
                self.watch.breaks(f"{table} {key} {change.column} met an old key, and is {state}")
        self._api.met_old_key.clear()
