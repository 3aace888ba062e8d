"""Enerflo's side of the writes: refusals by seed, and what arrived of them that should not have."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from enerflo_sync.sandbox.api import SandboxApi
from enerflo_sync.sandbox.changes import Change, Origin
from enerflo_sync.sandbox.exchange import Request, Response, html_page, refusal
from enerflo_sync.sandbox.world import UnknownRecordError

_INSTALL = re.compile(r"/api/v3/installs/(\d+)")
_MILESTONE = re.compile(r"/api/v3/installs/(\d+)/milestones/(\d+)")
_NOTE = re.compile(r"/api/v3/installs/(\d+)/notes")
_CUSTOMER = re.compile(r"/api/v3/customers/(\d+)")
_TABLES = ((_MILESTONE, "milestones"), (_NOTE, "notes"), (_INSTALL, "installs"), (_CUSTOMER, "leads"))

Values = dict[tuple[Any, ...], Any]


class WritesApi(SandboxApi):
    """A sandbox that refuses some writes, carries some out and says 504, and counts them.

    :ivar refused: the share of writes that get 403, 404 or 422; ``late`` of those carried out with a 504.
    :ivar outbox: returns whether the outbox says, committed, that a write of this table is under way.
    :ivar notes: how often a note of this text was added to an install.
    :ivar faulty: writes that should not have come, in words.
    """

    refused = late = 0.0
    outbox: Callable[[str], bool] = staticmethod(lambda _table: True)

    def begin(self, seed: int) -> None:
        """Count from here on."""
        self.notes: Counter[tuple[int, str]] = Counter()
        self.faulty: list[str] = []
        self._own: Values = {}
        self._rng = random.Random(f"{seed}/writes")
        self.world.listeners.append(self._forget)

    def _forget(self, change: Change) -> None:
        """What the company has touched itself may be written again."""
        if change.origin is Origin.COMPANY:
            ids = (change.install_id, change.customer_id)
            self._own = {place: value for place, value in self._own.items() if place[1] not in ids}

    def _write(self, request: Request, path: str) -> Response:
        table = next((name for pattern, name in _TABLES if pattern.fullmatch(path)), "leads")
        if not self.outbox(table):
            self.faulty.append(f"{request.method} {path}: nothing in the outbox is marked sent")
        roll = self._rng.random()
        if roll < self.refused:
            return refusal(self._rng.choice((403, 404, 422)), "No.")
        body = msgspec.json.decode(request.body)
        written, present = self._written(path, body)
        if written and all(
            present.get(place) == value == self._own.get(place) for place, value in written.items()
        ):
            self.faulty.append(f"{request.method} {path}: {body} once more")
        answer = super()._write(request, path)
        if answer.status < 300:
            self._own |= written
            if (note := _NOTE.fullmatch(path)) is not None:
                self.notes[int(note[1]), body["note"]] += 1
        return html_page(504, "504 Gateway Time-out") if roll < self.refused + self.late else answer

    def _written(self, path: str, body: dict[str, Any]) -> tuple[Values, Values]:
        """Return what a request writes, and what stands there."""
        world = self.world
        try:
            if (found := _MILESTONE.fullmatch(path)) is not None:
                install, milestone = int(found[1]), int(found[2])
                state = world.installs.get(world.number_of(install))
                rows = {row.milestone_id: row for row in world.truth.milestone_rows(state)}
                row = rows[milestone]
                shown = {
                    n: v and f"{v:%Y-%m-%dT%H:%M:%SZ}" for n, v in row._asdict().items() if n.endswith("_at")
                }
                wanted, place = body, ("milestones", install, milestone)
            elif (found := _INSTALL.fullmatch(path)) is not None:
                install = int(found[1])
                shown = {"status_id": world.installs.get(world.number_of(install)).status_id}
                wanted, place = body, ("installs", install)
            elif (found := _CUSTOMER.fullmatch(path)) is not None:
                return self._of_customer(int(found[1]), body)
            elif "lead" in body:
                known = world.customers.by_key(str(body["lead"].get("integration_record_id")))
                return ({}, {}) if known is None else self._of_customer(known, body["lead"])
            else:
                return {}, {}
        except UnknownRecordError:
            return {}, {}
        return ({(*place, n): v for n, v in wanted.items()}, {(*place, n): v for n, v in shown.items()})

    def _of_customer(self, customer_id: int, fields: dict[str, Any]) -> tuple[Values, Values]:
        customer = self.world.customer(customer_id)
        names = ("first_name", "last_name", "email", "mobile", "address", "city", "state", "zip")
        place = ("customers", customer_id)
        return (
            {(*place, n): fields[n] for n in names if n in fields},
            {(*place, n): getattr(customer, n) for n in names},
        )
