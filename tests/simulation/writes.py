"""Enerflo's side of the writes: refusals by seed, what arrived of them, and how Enerflo keeps it."""

from __future__ import annotations

import contextlib
import random
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.changes import Change, Origin
from enerflo_sandbox.exchange import Cut, Request, Response, html_page, refusal
from enerflo_sandbox.faults import FaultKind
from enerflo_sandbox.reads import PageOf
from enerflo_sandbox.world import UnknownRecordError
from tests.simulation.access import HalfOfTheInstalls

_INSTALL = re.compile(r"/api/v3/installs/(\d+)")
_MILESTONE = re.compile(r"/api/v3/installs/(\d+)/milestones/(\d+)")
_NOTE = re.compile(r"/api/v3/installs/(\d+)/notes")
_NOTES = "/api/v3/installs/notes"
_LACKING = frozenset({FaultKind.EMPTY_PAGE, FaultKind.SHORT_PAGE})
_CUSTOMER = re.compile(r"/api/v3/customers/(\d+)")
_LEAD_COLUMNS = ("first_name", "last_name", "email", "mobile", "address", "city", "state", "zip")

# A field of a record: the CRM's table, the record's ids, the CRM's column.
Place = tuple[str, tuple[int, ...], str]
Values = dict[Place, Any]


class UnderWay(NamedTuple):
    """A change that the outbox says was sent: its plan and place there, its column, and Enerflo's record."""

    plan: str
    position: int
    column: str | None
    record: tuple[Any, ...]


@dataclass
class Arrival:
    """One write that arrived.

    :param record: the ids of the record that it is about; none of one that is to be made.
    :param values: what it sets, by the CRM's columns; a note's text is ``body``, its install ``install``.
    :param stored: what stands there after it, where it was carried out.
    :param under_way: the changes of its table that were marked as sent.
    :param answered: Enerflo's answer arrived as it was given.
    """

    table: str
    record: tuple[int, ...] | None
    values: dict[str, Any]
    words: str
    stored: dict[str, Any] | None = None
    note_id: int | None = None
    under_way: tuple[UnderWay, ...] = ()
    process: Any = None
    answered: bool = False


class WritesApi(SandboxApi):
    """A sandbox that refuses some writes, carries some out and says 504, and remembers them.

    :ivar refused: the share of writes that get 403, 404 or 422; ``late`` of those carried out with a 504.
    :ivar outbox: returns the changes of a table that the outbox says, committed, to be under way.
    :ivar process: returns the process that runs.
    :ivar arrivals: told of each write before it is carried out.
    :ivar writes: what was carried out.
    :ivar kept: what was sent last of a field, and what Enerflo made of it, until somebody else changes it.
    :ivar spelled: everything that was ever sent of a field, each with what Enerflo made of it.
    :ivar faulty: writes that should not have come, in words.
    :ivar withheld: notes that a last page lacked. The list of notes says only how many pages it has, so its
        answer cannot show that its last page is short (REFERENCE.md §6.3).
    :ivar half: which installs the key does not see.
    :ivar met_old_key: the changes that were under way when a write was refused with 401, of the job at hand.
    """

    refused = late = 0.0
    half: HalfOfTheInstalls | None = None
    outbox: Callable[[str], tuple[UnderWay, ...]] = staticmethod(lambda _table: (UnderWay("", 0, None, ()),))
    process: Callable[[], Any] = staticmethod(lambda: None)

    def begin(self, seed: int) -> None:
        """Count from here on."""
        self.writes: list[Arrival] = []
        self.faulty: list[str] = []
        self.arrivals: list[Callable[[Arrival], None]] = []
        self.kept: dict[Place, tuple[Any, Any]] = {}
        self.spelled: dict[Place, list[tuple[Any, Any]]] = defaultdict(list)
        self.withheld: set[int] = set()
        self.met_old_key: list[UnderWay] = []
        self._at_hand: tuple[Arrival, Response] | None = None
        self._rng = random.Random(f"{seed}/writes")
        self.world.listeners.append(self._forget)

    def _forget(self, change: Change) -> None:
        """What the company has changed itself may be written again."""
        if change.origin is Origin.COMPANY:
            ids = {change.install_id, change.customer_id}
            for place, (_, stored) in list(self.kept.items()):
                if place[1][0] in ids and self._value_at(place) != stored:
                    del self.kept[place]

    def _value_at(self, place: Place) -> Any:
        table, record, column = place
        try:
            return self.stands(table, record)[column]
        except UnknownRecordError:
            return None

    def handle(self, request: Request) -> Response:
        self._at_hand = None
        answer = super().handle(request)
        if self._at_hand is not None:
            write, given = self._at_hand
            undamaged = answer.body is given.body and answer.cut is Cut.NONE and not answer.delay
            write.answered = undamaged and answer.status < 300
        if answer.status == 401 and request.method != "GET":
            body = msgspec.json.decode(request.body)
            self.met_old_key += self.outbox(self._read_write(request, request.path, body).table)
        if self.faults.rates.keys() & _LACKING and request.path == _NOTES and answer.status == 200:
            self._note_withheld(request, answer)
        return answer

    def _route(self, request: Request, path: str, key: str) -> Response:
        if self.half is not None and self.half.hides(path):
            return refusal(404, "No query results for this record.")
        return super()._route(request, path, key)

    def _shown_installs(self) -> PageOf | None:
        if self.half is not None and self.half.hidden:
            return self.half.page
        return super()._shown_installs()

    def _note_withheld(self, request: Request, answer: Response) -> None:
        with contextlib.suppress(msgspec.DecodeError, KeyError):
            given, whole = (
                msgspec.json.decode(one.body) for one in (answer, self._route(request, _NOTES, DEFAULT_KEY))
            )
            if given["page"] >= given["totalPages"]:
                self.withheld |= {row["note_id"] for row in whole["notes"]}
                self.withheld -= {row["note_id"] for row in given["notes"]}

    def _write(self, request: Request, path: str) -> Response:
        body = msgspec.json.decode(request.body)
        write = self._read_write(request, path, body)
        write.under_way, write.process = self.outbox(write.table), self.process()
        if not write.under_way:
            self.faulty.append(f"{write.words}: nothing in the outbox is marked sent")
        for listener in self.arrivals:
            listener(write)
        roll = self._rng.random()
        if roll < self.refused:
            return refusal(self._rng.choice((403, 404, 422)), "No.")
        before = self._stands(write)
        places = self._places(write)
        if places and all(
            self.kept.get(place) == (value, before[place[2]]) for place, value in places.items()
        ):
            self.faulty.append(f"{write.words}: {write.values} once more")
        answer = super()._write(request, path)
        if answer.status >= 300:
            return answer
        self._carried_out(write, answer)
        self._at_hand = (write, answer)
        return html_page(504, "504 Gateway Time-out") if roll < self.refused + self.late else answer

    def _carried_out(self, write: Arrival, answer: Response) -> None:
        self.writes.append(write)
        said = msgspec.json.decode(answer.body)
        if write.table == "notes":
            write.note_id = said["note"]["note_id"]
            return
        if write.record is None:
            write.record = (said["customer_id"],)
        write.stored = self._stands(write)
        for place, value in self._places(write).items():
            self.kept[place] = (value, write.stored[place[2]])
            self.spelled[place].append(self.kept[place])

    def _places(self, write: Arrival) -> Values:
        if write.record is None or write.table == "notes":
            return {}
        return {
            (write.table, write.record, column): value
            for column, value in write.values.items()
            if column in _SHOWN
        }

    def _read_write(self, request: Request, path: str, body: dict[str, Any]) -> Arrival:
        """Return a write in the CRM's words."""
        words = f"{request.method} {path}"
        if (found := _MILESTONE.fullmatch(path)) is not None:
            return Arrival("milestones", (int(found[1]), int(found[2])), dict(body), words)
        if (found := _NOTE.fullmatch(path)) is not None:
            return Arrival("notes", None, {"install": int(found[1]), "body": body.get("note")}, words)
        if (found := _INSTALL.fullmatch(path)) is not None:
            return Arrival("installs", (int(found[1]),), {"status": c.STATUSES.get(body["status_id"])}, words)
        if (found := _CUSTOMER.fullmatch(path)) is not None:
            values = {name: body[name] for name in _LEAD_COLUMNS if name in body}
            return Arrival("leads", (int(found[1]),), values, words)
        lead = body.get("lead") or {}
        values = {name: lead[name] for name in _LEAD_COLUMNS if name in lead}
        key = str(lead.get("integration_record_id"))
        known = self.world.customers.by_key(key)
        return Arrival("leads", None if known is None else (known,), {**values, "lead_id": key}, words)

    def _stands(self, write: Arrival) -> dict[str, Any]:
        """Return what stands in the record that a write is about, in the CRM's columns."""
        if write.record is None:
            return {}
        try:
            return self.stands(write.table, write.record)
        except UnknownRecordError:
            return dict.fromkeys(_SHOWN)

    def stands(self, table: str, record: tuple[int, ...]) -> dict[str, Any]:
        """Return what Enerflo has of a record in the columns that can be written.

        :raises UnknownRecordError: there is no such record.
        """
        world = self.world
        if table == "leads":
            customer = world.customer(record[0])
            return {name: getattr(customer, name) for name in _LEAD_COLUMNS}
        state = world.installs.get(world.number_of(record[0]))
        if table == "installs":
            return {"status": world.truth.install_row(state).status_name}
        rows = {row.milestone_id: row._asdict() for row in world.truth.milestone_rows(state)}
        if record[1] not in rows:
            raise UnknownRecordError(f"no milestone {record[1]}")
        return {name: value for name, value in rows[record[1]].items() if name.endswith("_at")}


_SHOWN = (*_LEAD_COLUMNS, "status", "started_at", "due_at", "completed_at")
