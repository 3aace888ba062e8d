"""What the account's API key is good for: it is rotated at Enerflo, or sees only some of the installs for a while."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.changes import ChangeKind
from enerflo_sync.clock import Clock

# So many minutes pass until a new key is in the configuration.
_UNTIL_CONFIGURED = (0, 0, 10, 40)
# Chance of a rotation before one request, and of a poll that sees half of the installs, each at rate 1.
_ROTATED = 0.03
_HALVED = 0.3
# Each adds as many installs as it hides: more of them would make the company large.
_MOST_HALVED = 2
_SMALLEST = 4
_OF_INSTALL = re.compile(r"/api/v3/installs/(\d+)(?:/.*)?")


class Keys:
    """The key that Enerflo accepts, and the one that a job is given when it starts.

    :param rate: how often the key is rotated; never where 0.
    """

    def __init__(self, api: SandboxApi, clock: Clock, seed: int, rate: float) -> None:
        self._api = api
        self._clock = clock
        self._rate = rate
        self._rng = random.Random(f"{seed}/rotation")
        self._configured = self._accepted = DEFAULT_KEY
        self._configured_at: datetime | None = None
        self._rotations = 0

    def of_job(self) -> str:
        """Return the key that is in the configuration now."""
        if self._configured_at is not None and self._clock.now() >= self._configured_at:
            self.configure()
        return self._configured

    def configure(self) -> None:
        """Put the key that Enerflo accepts into the configuration."""
        self._configured, self._configured_at = self._accepted, None

    def before_a_request(self) -> None:
        """Now and then let somebody rotate the key: the old one is refused from now on."""
        if not self._rate or self._rng.random() >= _ROTATED * self._rate:
            return
        self._rotations += 1
        self._accepted = f"{DEFAULT_KEY}-{self._rotations}"
        self._api.keys = frozenset({self._accepted})
        if self._api.no_uuid_keys:
            self._api.no_uuid_keys = self._api.keys
        minutes = self._rng.choice(_UNTIL_CONFIGURED)
        self._configured_at = self._clock.now() + timedelta(minutes=minutes)


class HalfOfTheInstalls:
    """For a whole poll the key sees half of the installs that the mirror has, and as many new ones.

    :param mirrored: returns the ids of the installs that the mirror has.
    :ivar hidden: the numbers of the installs that it does not see.
    """

    def __init__(self, api: SandboxApi, seed: int, rate: float, mirrored: Callable[[], list[int]]) -> None:
        self.hidden: frozenset[int] = frozenset()
        self._api = api
        self._rate = rate
        self._mirrored = mirrored
        self._rng = random.Random(f"{seed}/half of the installs")
        self._times = 0

    @contextmanager
    def now_and_then(self) -> Iterator[None]:
        """Let a job within see half of the installs, if its time has come."""
        if not self._rate or self._times == _MOST_HALVED or self._rng.random() >= _HALVED * self._rate:
            yield
            return
        world = self._api.world
        known = [number for one in self._mirrored() if (number := world.installs.number_of(one)) is not None]
        if len(known) < _SMALLEST:
            yield
            return
        self._times += 1
        self.hidden = frozenset(self._rng.sample(known, (len(known) + 1) // 2))
        world.step(0, len(self.hidden), (ChangeKind.NEW_INSTALL,))
        try:
            yield
        finally:
            self.hidden = frozenset()

    def hides(self, path: str) -> bool:
        """Return whether a path is about an install that the key does not see."""
        found = _OF_INSTALL.fullmatch(path) if self.hidden else None
        return found is not None and self._api.world.installs.number_of(int(found[1])) in self.hidden

    def page(self, offset: int, size: int) -> tuple[int, list[tuple[bytes, ...]]]:
        """Return how many installs the key sees, and ``size`` of them, highest ids first."""
        world = self._api.world
        numbers = sorted((one for one in world.installs.live() if one not in self.hidden), reverse=True)
        return len(numbers), [world.pieces(number) for number in numbers[offset : offset + size]]
