"""Which webhook events Enerflo sends for a change, with their bodies as bytes (REFERENCE.md §9, §10)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from enerflo_sandbox import customer_rows, payloads_noise, payloads_submission, render
from enerflo_sandbox import payloads_v1 as v1
from enerflo_sandbox import payloads_v2 as v2
from enerflo_sandbox.changes import Change, ChangeKind
from enerflo_sandbox.draw import Draw, moment_of
from enerflo_sandbox.render import Record
from enerflo_sandbox.seeded import install_number_of
from enerflo_sandbox.state import CustomerState, InstallState, NoteState
from enerflo_sandbox.world import World

# Which client library Enerflo's two systems send with is not known; these are usual ones of theirs.
_V1_HEADERS = {"content-type": "application/json", "user-agent": "GuzzleHttp/7"}
_V2_HEADERS = {"content-type": "application/json; charset=utf-8", "user-agent": "axios/1.7.2"}
_ALSO_UPDATED = 0.5
_RESTLESS = frozenset({"customer.created", "update_appointment"})


@dataclass(frozen=True, slots=True)
class Event:
    """One webhook as Enerflo would send it.

    :param ids: the ids of the records that it concerns, by the names of ``Change``; v1 ids, not v2 uuids.
    :param is_restless: comes two or three times in production, whatever the network does.
    :param is_stutter: an extra of such a repetition, with other content than the event that it repeats.
    """

    name: str
    body: bytes
    headers: Mapping[str, str]
    ids: dict[str, int | str]
    at: datetime
    is_restless: bool = False
    is_stutter: bool = False


def events_of(world: World, change: Change, rng: random.Random, noise: float = 0.0) -> list[Event]:
    """Return the events of a change, rendered from the records as they are now, in the order of sending.

    :param rng: chooses among the shapes that are known or likely for a body.
    :param noise: share of the changes that come with events which concern no mirrored record.
    """
    scene = _Scene(world, change, rng)
    bodies = list(_TELLERS[change.kind](scene)) if change.kind in _TELLERS else []
    if bodies and rng.random() < noise:
        bodies += payloads_noise.bodies(change, scene.customer, scene.install, rng)
    nonce = Draw(world.era.seed, "webhook", rng.getrandbits(48)).hex(len(render.NONCE_MARK))
    return [_event(body, change, nonce) for body in bodies]


def _event(body: Record, change: Change, nonce: str) -> Event:
    data = render.encode(body)
    if render.NONCE_BYTES in data:
        data = render.signed(data, render.signature(nonce, moment_of(change.at)))
    is_v1 = "webhook_event" in body
    name = str(body["webhook_event" if is_v1 else "event"])
    ids = {
        key: value
        for key in ("install_id", "deal_id", "customer_id", "milestone_id", "note_id", "change_order_id")
        if (value := getattr(change, key)) is not None
    }
    stutter = not is_v1 and body["payload"].get("customer", {"firstName": "?"}).get("firstName") in (None, "")
    headers = _V1_HEADERS if is_v1 else _V2_HEADERS
    return Event(name, data, headers, ids, change.at, name in _RESTLESS and not stutter, stutter)


class _Scene:
    """The records of one change."""

    def __init__(self, world: World, change: Change, rng: random.Random) -> None:
        self.world, self.change, self.rng = world, change, rng
        self.install = self._find_install()
        customer_id = self.install.customer_id if self.install is not None else change.customer_id
        self.customer: CustomerState = world.customers.get(customer_id or 0)

    def _find_install(self) -> InstallState | None:
        if self.change.install_id is None:
            return None
        number = install_number_of(self.world.era.seed, self.change.install_id)
        # Deleted ones too: their last state is what the deletion's webhook shows.
        return None if number is None else self.world.installs.get(number)

    @property
    def of_install(self) -> v1.InstallView:
        """Return the install of the change with what its bodies show beside it."""
        if self.install is None:
            raise AssertionError(f"a change {self.change.kind} has an install")
        status = self.world.status_name(self.install.status_id)
        return v1.InstallView(self.install, self.customer, status)

    @property
    def note(self) -> NoteState:
        """Return the note of the change."""
        position = self.world.notes.position_of(self.change.note_id or 0)
        if position is None:
            raise AssertionError("a change of a note has a note")
        return self.world.notes.get(position)


def _new_install(scene: _Scene) -> Iterator[Record]:
    for event in ("new_install", "submit_install"):
        yield v1.install(event, scene.of_install, scene.rng)
    yield from _submission(scene)


def _submission(scene: _Scene) -> Iterator[Record]:
    for event in ("deal.projectSubmitted", "deal.projectReceived"):
        yield payloads_submission.submission(event, scene.of_install, scene.world.era)


def _update(scene: _Scene) -> Iterator[Record]:
    yield v1.install("update_install", scene.of_install, scene.rng)


def _resubmitted(scene: _Scene) -> Iterator[Record]:
    yield v1.install("restore_install", scene.of_install, scene.rng)
    yield from _submission(scene)


def _deleted(scene: _Scene) -> Iterator[Record]:
    if scene.rng.random() < 0.5:
        deleted = moment_of(scene.change.at)
        yield v1.install("update_install", scene.of_install, scene.rng, deleted=deleted)


def _milestone(scene: _Scene) -> Iterator[Record]:
    yield v1.milestone(scene.of_install, scene.change.milestone_id or 0, scene.rng)
    if scene.rng.random() < _ALSO_UPDATED:
        yield from _update(scene)


def _note(scene: _Scene) -> Iterator[Record]:
    yield v1.note(scene.note, scene.of_install, scene.rng)


def _change_order(scene: _Scene) -> Iterator[Record]:
    world, view = scene.world, scene.of_install
    held = [world.change_orders.get(i) for i in world.change_orders.of_install(view.state.number)]
    signed = next(o for o in held if o is not None and o.change_order_id == scene.change.change_order_id)
    rows = [render.change_order_record(o, view.state.install_id) for o in held if o is not None]
    yield v1.signed_change_order(signed.status, rows, view)
    yield from _update(scene)


def _new_customer(scene: _Scene) -> Iterator[Record]:
    yield v1.customer("new_customer", scene.customer, scene.rng)
    uuid = customer_rows.v2_id(scene.customer, scene.world.era)
    if uuid is not None:
        yield v2.customer_created(scene.customer, uuid)
        roll = scene.rng.randrange(6)
        if roll < 2:
            yield v2.empty_customer_created(scene.customer, uuid if roll else None)


def _customer_edited(scene: _Scene) -> Iterator[Record]:
    yield v1.customer("update_customer", scene.customer, scene.rng)
    uuid = customer_rows.v2_id(scene.customer, scene.world.era)
    before = scene.change.detail.get("before")
    if uuid is not None and isinstance(before, dict):
        yield v2.customer_updated(scene.customer, before, uuid)


_TELLERS: dict[ChangeKind, Callable[[_Scene], Iterator[Record]]] = {
    ChangeKind.NEW_INSTALL: _new_install,
    ChangeKind.INSTALL_VOIDED: _update,
    ChangeKind.STATUS_CHANGED: _update,
    ChangeKind.INSTALL_RESUBMITTED: _resubmitted,
    ChangeKind.INSTALL_DELETED: _deleted,
    ChangeKind.MILESTONE_CHANGED: _milestone,
    ChangeKind.NOTE_CREATED: _note,
    ChangeKind.CHANGE_ORDER_SIGNED: _change_order,
    ChangeKind.NEW_CUSTOMER: _new_customer,
    ChangeKind.CUSTOMER_EDITED: _customer_edited,
}
