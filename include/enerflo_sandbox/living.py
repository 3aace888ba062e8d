"""A served company that lives by itself: its changes and its webhooks come as time passes."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self

from enerflo_sandbox.emitter import Emitter
from enerflo_sandbox.world import World

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.1


class LivingCompany:
    """One thread that makes a small change every so often and sends the webhooks that are due.

    Use it as a context; leaving it ends the thread, and what is pending stays pending. The time is the
    machine's, as behind a socket. A delivery that fails is the emitter's to note; anything else that goes
    wrong is a defect, which ends the thread with its trace on standard error.

    :param every: seconds between two changes; None makes none, and only delivers.
    """

    def __init__(self, world: World, emitter: Emitter | None = None, every: float | None = None) -> None:
        if every is not None and every <= 0:
            raise ValueError(f"a company lives every so many seconds, more than 0, got {every}")
        self._world, self._emitter, self._every = world, emitter, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="sandbox-life", daemon=True)

    def _live(self) -> None:
        began = time.monotonic()
        steps = 0
        while not self._ended.wait(_TICK_SECONDS):
            if self._every is not None and time.monotonic() - began >= self._every * (steps + 1):
                steps += 1
                changes = self._world.step(self._every / 60, 1)
                logger.info("sandbox_lived changes=%d", len(changes))
            if self._emitter is not None:
                self._emitter.deliver_due()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
