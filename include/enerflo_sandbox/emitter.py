"""The webhooks that a real company would send for what happens in the simulated one, with their mess.

What is promised to whoever reads the other end:

- One seed, one mess and one course of the world give the same bodies, losses, copies and order, byte by byte.
- A body shows its record as it was at the moment of the change when the emitter watches the world
  (``watch``), so that a late copy is old data. Bodies carry no event id, no delivery id and no event time.
- The identical bytes of a copy are a duplicate; two bodies that differ are two events, even of one change.
  Where there are duplicates at all, some ``customer.created`` come once more with the customer's data empty.
- Every change of an install, a note made, a change order signed and every change of a customer has an event,
  save a note's edit or deletion and about every second deletion of an install (``payloads`` has the list).
- Nothing is sent by itself: ``deliver_due`` sends what is due by the clock. Each copy ends exactly once, as
  sent, lost or failed, and is listed so.
- Loss is for good. Enerflo's retries are not known (REFERENCE.md §11), so what a target refuses is not sent
  again either.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import random
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from enerflo_sandbox.changes import Change
from enerflo_sandbox.delivery import Target
from enerflo_sandbox.mess import LONGEST_HOLD, Delivery, Fate, Mess
from enerflo_sandbox.payloads import Event, events_of
from enerflo_sandbox.world import World
from enerflo_sync.clock import Clock
from enerflo_sync.errors import RetriableError

__all__ = ["Delivery", "Emitter", "Fate", "Mess"]

logger = logging.getLogger(__name__)

_REMEMBERED = 10_000
# Copies were seen within two seconds and, less often, over 15 to 90 (REFERENCE.md §11).
_QUICK_COPY_SECONDS = 2.0
_SLOW_COPY_SECONDS = (15.0, 90.0)
_SLOW_COPIES = 0.2
_THIRD_COPIES = 0.2


@dataclass(frozen=True, slots=True)
class _Parcel:
    event: Event
    due: datetime
    copy: int = 1
    copies: int = 1
    lost: bool = False
    late: bool = False
    reordered: bool = False


class Emitter:
    """Tells a target what happens in a world; thread-safe, without threads of its own.

    Use either ``watch`` once, or ``emit`` with the changes of each step; both together tell things twice.

    :param seed: decides bodies' shapes and the mess; independent of the world's.
    :param clock: whose time makes a delivery due; the world's where absent.
    :param noise: share of the changes that come with events which concern no mirrored record
        (appointments, surveys, design requests), 0 to 1.
    """

    def __init__(
        self,
        world: World,
        seed: int,
        mess: Mess,
        target: Target,
        clock: Clock | None = None,
        *,
        noise: float = 0.2,
    ) -> None:
        if not 0 <= noise <= 1:
            raise ValueError(f"noise is a share from 0 to 1, got {noise}")
        self.world = world
        self.mess = mess
        self.target = target
        self.clock = clock if clock is not None else world.clock
        self.counts: Counter[tuple[str, Fate]] = Counter()
        self.recent: deque[Delivery] = deque(maxlen=_REMEMBERED)
        self.events = 0
        self._noise = noise
        # Two streams: another mess leaves the bodies of a seed as they are.
        self._shapes = random.Random(f"{seed}/webhook-shapes")
        self._fates = random.Random(f"{seed}/webhook-fates")
        self._heap: list[tuple[datetime, int, _Parcel]] = []
        self._held: list[_Parcel] = []
        self._sequence = 0
        self._muted = 0
        self._queue = threading.RLock()
        self._sending = threading.Lock()

    # -- what is to be told ---------------------------------------------------------------------------------

    def watch(self) -> None:
        """Render and schedule every change of the world from now on at the moment when it happens."""
        self.world.listeners.append(self._hear)

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Tell nothing of what happens inside, as if no subscription existed; not for use across threads.

        The caller holds the world's lock, so that nothing of another thread is left untold.
        """
        self._muted += 1
        try:
            yield
        finally:
            self._muted -= 1

    def _hear(self, change: Change) -> None:
        if not self._muted:
            self.emit([change])

    def emit(self, changes: Iterable[Change]) -> int:
        """Render the events of changes from the records as they are now, schedule them, return how many.

        A change that Enerflo has no webhook for (a note edited or deleted) gives none.
        """
        with self.world.lock, self._queue:
            before = self.events
            for change in changes:
                for event in events_of(self.world, change, self._shapes, self._noise):
                    if not event.is_stutter or self.mess.duplicate > 0:
                        self._schedule(event)
            return self.events - before

    def _schedule(self, event: Event) -> None:
        self.events += 1
        fates, mess = self._fates, self.mess
        # Always as many draws, so that one rate does not move what the others decide.
        lost, doubled, swapped, third = (fates.random() for _ in range(4))
        now = self.clock.now()
        if lost < mess.loss:
            self._push(_Parcel(event, now, lost=True))
            return
        copies = 1
        if (event.is_restless and mess.duplicate > 0) or doubled < mess.duplicate:
            copies = 3 if third < _THIRD_COPIES else 2
        first = self._delayed(_Parcel(event, now, copies=copies))
        if swapped < mess.reorder and not first.late:
            self._held.append(replace(first, reordered=True))
        else:
            self._push(first)
            if not first.late:
                self._let_pass(first)
        for copy in range(2, copies + 1):
            gap = timedelta(seconds=self._copy_gap())
            self._push(self._delayed(_Parcel(event, now + gap, copy=copy, copies=copies)))

    def _delayed(self, parcel: _Parcel) -> _Parcel:
        chance, share = self._fates.random(), self._fates.random()
        if chance >= self.mess.delay:
            return parcel
        wait = timedelta(seconds=1) + share * (self.mess.longest_delay - timedelta(seconds=1))
        return replace(parcel, due=parcel.due + wait, late=True)

    def _copy_gap(self) -> float:
        if self._fates.random() < _SLOW_COPIES:
            return self._fates.uniform(*_SLOW_COPY_SECONDS)
        return self._fates.uniform(0, _QUICK_COPY_SECONDS)

    def _let_pass(self, overtaker: _Parcel) -> None:
        """Put what was held behind the event that has overtaken it."""
        for held in reversed(self._held):
            self._push(replace(held, due=max(held.due, overtaker.due)))
        self._held.clear()

    def _push(self, parcel: _Parcel) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (parcel.due, self._sequence, parcel))

    # -- what is told ---------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Return how many copies are not due yet, lost ones included."""
        with self._queue:
            return len(self._heap) + len(self._held)

    @property
    def next_due(self) -> datetime | None:
        """Return when the next copy is due, or None when nothing is pending."""
        with self._queue:
            held = [parcel.due + LONGEST_HOLD for parcel in self._held]
            return min([entry[0] for entry in self._heap[:1]] + held, default=None)

    def deliver_due(self) -> list[Delivery]:
        """Send what is due by the clock and return every copy that came to its end, lost ones too."""
        return self._deliver(self.clock.now())

    def drain(self) -> list[Delivery]:
        """Send all that is pending at once, due or not, in the order in which it is due."""
        return self._deliver(None)

    def _deliver(self, until: datetime | None) -> list[Delivery]:
        with self._sending:
            done = [self._send(parcel) for parcel in self._take(until)]
            failed = self.target.flush() if done else frozenset()
            done = [_failed(one) if one.place and one.place in failed else one for one in done]
            with self._queue:
                self.recent.extend(done)
                self.counts.update((one.event, one.fate) for one in done)
        return done

    def _take(self, until: datetime | None) -> list[_Parcel]:
        with self._queue:
            overdue = [p for p in self._held if until is None or p.due + LONGEST_HOLD <= until]
            self._held = [p for p in self._held if p not in overdue]
            for parcel in overdue:
                self._push(parcel)
            taken = []
            while self._heap and (until is None or self._heap[0][0] <= until):
                taken.append(heapq.heappop(self._heap)[2])
            return taken

    def _send(self, parcel: _Parcel) -> Delivery:
        event = parcel.event
        ended = Delivery(
            event=event.name,
            ids=event.ids,
            happened_at=event.at,
            due_at=parcel.due,
            sent_at=None,
            fate=Fate.LOST,
            copy=parcel.copy,
            copies=parcel.copies,
            late=parcel.late,
            reordered=parcel.reordered,
            size=len(event.body),
            digest=hashlib.sha256(event.body).hexdigest(),
        )
        if parcel.lost:
            return ended
        try:
            place = self.target.send(event.body, event.headers)
        except RetriableError as error:
            logger.warning("webhook_not_delivered event=%s bytes=%d: %s", event.name, len(event.body), error)
            return replace(ended, fate=Fate.FAILED)
        return replace(ended, fate=Fate.SENT, sent_at=self.clock.now(), place=place)


def _failed(delivery: Delivery) -> Delivery:
    return replace(delivery, fate=Fate.FAILED, sent_at=None)
