"""The install list of some seconds ago, while every direct read shows the present."""

from __future__ import annotations

from datetime import datetime, timedelta

from enerflo_sandbox.changes import Change
from enerflo_sandbox.world import World

Pieces = tuple[bytes, ...]


class LaggingList:
    """Remembers what the records were before each change, from the moment it is made.

    :param seconds: how old the list is that :meth:`page` shows, > 0.

    A record that is spoilt or mended (``World.plant_bad``) is so in the list at once: this is no change.
    """

    def __init__(self, world: World, seconds: float) -> None:
        self.seconds = seconds
        self._world = world
        self._last: dict[int, Pieces] = {number: world.pieces(number) for number in world.installs.live()}
        self._numbers = {world.install_id(number): number for number in self._last}
        # What a record was until the moment of a change, oldest change first; None before it existed.
        self._before: dict[int, list[tuple[datetime, Pieces | None]]] = {}
        world.listeners.append(self._note)

    def end(self) -> None:
        """Stop remembering."""
        self._world.listeners.remove(self._note)

    def page(self, offset: int, size: int) -> tuple[int, list[Pieces]]:
        """Return how many installs the list had then, and ``size`` of them, highest ids first."""
        then = self._world.now() - timedelta(seconds=self.seconds)
        shown = {number: pieces for number in self._last if (pieces := self._at(number, then)) is not None}
        numbers = sorted(shown, reverse=True)[offset : offset + size]
        return len(shown), [shown[number] for number in numbers]

    def _at(self, number: int, then: datetime) -> Pieces | None:
        later = [pieces for changed, pieces in self._before.get(number, ()) if changed > then]
        if later:
            return later[0]
        return self._world.pieces(number) if self._world.installs.is_live(number) else None

    def _note(self, change: Change) -> None:
        if change.install_id is not None:
            found = self._world.installs.number_of(change.install_id)
            self._compare(self._numbers.get(change.install_id) if found is None else found)
        elif change.customer_id is not None and self._world.customers.exists(change.customer_id):
            for deal in self._world.customer(change.customer_id).deals:
                if deal.install_id is not None:
                    self._compare(self._world.installs.number_of(deal.install_id))

    def _compare(self, number: int | None) -> None:
        """Remember what the record was if it is something else now."""
        if number is None:
            return
        live = self._world.installs.is_live(number)
        before, now = self._last.get(number), self._world.pieces(number) if live else None
        if before != now:
            self._before.setdefault(number, []).append((self._world.now(), before))
        # A deleted record keeps its place: the list of before the deletion still shows it.
        self._last[number] = now or ()
        self._numbers.setdefault(self._world.install_id(number), number)
