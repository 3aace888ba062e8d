"""The company's records by kind: derived from the seed until something changes them, then held."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Callable, Iterator

from enerflo_sandbox import seeded
from enerflo_sandbox.catalogue import NOTE_TEXTS, USERS
from enerflo_sandbox.draw import Draw
from enerflo_sandbox.seeded import DAY, Era
from enerflo_sandbox.state import ChangeOrderState, CustomerState, InstallState, NoteState


class InstallBook:
    """All installs by number of creation; memory grows with what changed, not with what exists."""

    def __init__(self, era: Era) -> None:
        self.era = era
        self.total = era.installs
        self._held: dict[int, InstallState] = {}
        self._by_deal: dict[str, int] = {}
        self._live = array("q", range(era.installs))

    def __len__(self) -> int:
        return len(self._live)

    def get(self, number: int) -> InstallState:
        """Return install ``number``, deleted or not; a copy unless it was changed before."""
        return self._held.get(number) or seeded.seeded_install(self.era, number)

    def edit(self, number: int) -> InstallState:
        """Return the held state of install ``number``, to be changed in place."""
        return self._held.setdefault(number, self.get(number))

    def is_live(self, number: int) -> bool:
        """Return True unless install ``number`` was deleted or never made."""
        at = bisect.bisect_left(self._live, number)
        return at < len(self._live) and self._live[at] == number

    def number_of(self, install_id: int) -> int | None:
        """Return the number of the live install with this id, or None."""
        number = seeded.install_number_of(self.era.seed, install_id)
        return number if number is not None and self.is_live(number) else None

    def number_of_deal(self, deal_id: str) -> int | None:
        """Return the number of the live install of a v2 deal, or None."""
        number = self._by_deal.get(deal_id.lower())
        if number is None:
            number = seeded.deal_number_of(self.era.seed, deal_id)
            if number is None or number >= self.total or self.get(number).deal_id != deal_id.lower():
                return None
        return number if self.is_live(number) else None

    def page(self, offset: int, size: int) -> list[int]:
        """Return the numbers of up to ``size`` live installs after ``offset``, highest ids first."""
        end = max(0, len(self._live) - offset)
        return self._live[max(0, end - size) : end].tolist()[::-1]

    def live(self) -> Iterator[int]:
        """Yield the numbers of all live installs, oldest first."""
        return iter(self._live.tolist())

    def add(self, created: int) -> InstallState:
        """Add an install created at an epoch second and return its held state."""
        number = self.total
        self.total += 1
        state = self.edit(number)
        state.created = state.updated = created
        state.milestones = [type(dates)() for dates in state.milestones]
        self._live.append(number)
        return state

    def link_deal(self, deal_id: str, number: int) -> None:
        """Make ``find`` answer a deal that did not come from the seed with install ``number``."""
        self._by_deal[deal_id.lower()] = number

    def delete(self, number: int) -> None:
        """Take install ``number`` out of every answer."""
        del self._live[bisect.bisect_left(self._live, number)]


def _folded(key: str) -> str:
    """Return what keys share that a vendor may take for one."""
    return key.strip().casefold()


class CustomerBook:
    """All customers and leads by id; a customer of an install has an even offset, a lead an odd one."""

    def __init__(self, era: Era, installs: InstallBook) -> None:
        self.era = era
        self.leads = era.installs // 5
        self._installs = installs
        self._held: dict[int, CustomerState] = {}
        # By ``_folded``; the vendor's own spelling decides among those that share one.
        self._by_key: dict[str, list[int]] = {}
        #: Return a key as the vendor keeps it; two keys that are kept alike are one.
        self.kept_key: Callable[[str], str] = str
        self._unborn: set[int] = set()
        self._ids: list[int] | None = None

    def get(self, customer_id: int) -> CustomerState:
        """Return the customer with an id that exists; a copy unless it was changed before."""
        return self._held.get(customer_id) or seeded.seeded_customer(self.era, customer_id)

    def edit(self, customer_id: int) -> CustomerState:
        """Return the held state of a customer, to be changed in place."""
        return self._held.setdefault(customer_id, self.get(customer_id))

    def exists(self, customer_id: int) -> bool:
        """Return True if there is a customer or lead with this id."""
        offset = customer_id - seeded.FIRST_CUSTOMER_ID
        limit = self.leads if offset % 2 else self._installs.total
        return 0 <= offset // 2 < limit and customer_id not in self._unborn

    def ids(self) -> list[int]:
        """Return all ids, highest first."""
        count = self._installs.total + self.leads - len(self._unborn)
        if self._ids is None or len(self._ids) != count:
            first = seeded.FIRST_CUSTOMER_ID
            even = range(first, first + 2 * self._installs.total, 2)
            odd = range(first + 1, first + 1 + 2 * self.leads, 2)
            self._ids = sorted((i for i in (*even, *odd) if i not in self._unborn), reverse=True)
        return self._ids

    def by_key(self, external_id: str) -> int | None:
        """Return the id of the customer with this ``integration_record_id``, or None."""
        key = self.kept_key(external_id)
        for held in reversed(self._by_key.get(_folded(external_id), [])):
            if self._has_key(held, key):
                return held
        if key.upper().startswith("LEAD-") and key[5:].isdigit():
            customer_id = seeded.FIRST_CUSTOMER_ID + int(key[5:])
            if self.exists(customer_id) and self._has_key(customer_id, key):
                return customer_id
        return None

    def _has_key(self, customer_id: int, key: str) -> bool:
        own = self.get(customer_id).external_id
        return own is not None and self.kept_key(own) == key

    def add_lead(self, created: int, external_id: str | None) -> CustomerState:
        """Add a lead created at an epoch second and return its held state."""
        customer_id = seeded.FIRST_CUSTOMER_ID + 1 + 2 * self.leads
        self.leads += 1
        lead = self.edit(customer_id)
        lead.created = lead.updated = created
        lead.external_id = external_id
        if external_id is not None:
            self._by_key.setdefault(_folded(external_id), []).append(customer_id)
        return lead

    def never_born(self, customer_id: int) -> None:
        """Take out the customer that an install would have had, since a lead signed it instead."""
        self._unborn.add(customer_id)


class NoteBook:
    """All install notes in order of creation; positions are stable, ids follow from them."""

    def __init__(self, era: Era, installs: InstallBook) -> None:
        self.era = era
        self._installs = installs
        self._held: dict[int, NoteState] = {}
        self._created = array("q")
        self._install = array("q")
        self._of_install: dict[int, list[int]] = {}
        self._visible: list[int] = []
        step = (seeded.HISTORY_DAYS - 12) * DAY / max(1, 2 * era.installs)
        for position in range(2 * era.installs):
            created = int(era.begin + 10 * DAY + position * step)
            older = int((created - era.begin) / era.gap) if era.gap else 0
            older = min(older, era.installs)
            d = Draw(era.seed, "note", position)
            number = (d.below(65_536) << 16 | d.below(65_536)) * older >> 32 if older else 0
            if older or installs.get(0).created < created:
                self._append(created, number)

    def __len__(self) -> int:
        return len(self._visible)

    def _append(self, created: int, number: int) -> int:
        position = len(self._created)
        self._created.append(created)
        self._install.append(number)
        self._of_install.setdefault(number, []).append(position)
        self._visible.append(position)
        return position

    def get(self, position: int) -> NoteState:
        """Return the note at a position."""
        held = self._held.get(position)
        if held is not None:
            return held
        created = self._created[position]
        d = Draw(self.era.seed, "note-text", position)
        author = d.pick(USERS)
        text = d.pick(NOTE_TEXTS).format(name=d.pick(USERS).name, city="the city", number=d.below(60_000))
        deleted = created + 3600 * (1 + d.below(20)) if d.one_in(25) else None
        note_id = seeded.FIRST_NOTE_ID + position
        return NoteState(note_id, self._install[position], author.user_id, text, created, deleted)

    def edit(self, position: int) -> NoteState:
        """Return the held state of a note, to be changed in place."""
        return self._held.setdefault(position, self.get(position))

    def position_of(self, note_id: int) -> int | None:
        """Return the position of the note with this id, or None."""
        position = note_id - seeded.FIRST_NOTE_ID
        return position if 0 <= position < len(self._created) else None

    def add(self, created: int, number: int, author_id: int, text: str) -> NoteState:
        """Add a note to install ``number`` and return it."""
        position = self._append(created, number)
        note = NoteState(seeded.FIRST_NOTE_ID + position, number, author_id, text, created)
        self._held[position] = note
        return note

    def of_install(self, number: int) -> list[int]:
        """Return the positions of the notes of install ``number``, oldest first."""
        return self._of_install.get(number, [])

    def forget_install(self, number: int) -> None:
        """Take the notes of a deleted install out of every answer."""
        gone = set(self.of_install(number))
        if gone:
            self._visible = [position for position in self._visible if position not in gone]

    def visible(self, created_after: int | None = None) -> list[int]:
        """Return the positions of all notes created later than an epoch second, oldest first."""
        if created_after is None:
            return self._visible
        at = bisect.bisect_right(self._visible, created_after, key=lambda position: self._created[position])
        return self._visible[at:]


class ChangeOrderBook:
    """All change orders by id; about one install in eight has one in its history."""

    def __init__(self, era: Era, installs: InstallBook) -> None:
        self.era = era
        self._installs = installs
        self._held: dict[int, ChangeOrderState] = {}
        self._of_install: dict[int, list[int]] | None = None
        self._added = 0

    def _index(self) -> dict[int, list[int]]:
        if self._of_install is None:
            self._of_install = {
                number: [seeded.FIRST_CHANGE_ORDER_ID + 2 * number]
                for number in range(self.era.installs)
                if seeded.has_seeded_change_order(self.era.seed, number)
            }
        return self._of_install

    def of_install(self, number: int) -> list[int]:
        """Return the ids of the change orders of install ``number``, oldest first."""
        return self._index().get(number, [])

    def get(self, change_order_id: int) -> ChangeOrderState | None:
        """Return the change order with this id, or None."""
        held = self._held.get(change_order_id)
        if held is not None:
            return held
        number, odd = divmod(change_order_id - seeded.FIRST_CHANGE_ORDER_ID, 2)
        if odd or change_order_id not in self.of_install(number):
            return None
        return seeded.seeded_change_order(self.era, seeded.seeded_install(self.era, number))

    def ids(self) -> list[int]:
        """Return the ids of the change orders of all live installs, highest first."""
        live = self._installs.is_live
        return sorted((i for n, ids in self._index().items() if live(n) for i in ids), reverse=True)

    def next_id(self) -> int:
        """Return the id that the next added change order gets."""
        return seeded.FIRST_CHANGE_ORDER_ID + 2 * self._added + 1

    def add(self, order: ChangeOrderState) -> None:
        """Hold a change order made after the history ended."""
        self._added += 1
        self._held[order.change_order_id] = order
        self._index().setdefault(order.install_number, []).append(order.change_order_id)
