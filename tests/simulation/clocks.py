"""A worker's own clock, which may be wrong, and threads that keep to one course."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any
from unittest import mock

from enerflo_sync.clock import Clock, DatabaseClock
from enerflo_sync.rebuild import rebuild as rebuild

# How far a worker's clock is from the database's, either way.
_OFF = (timedelta(minutes=4), timedelta(minutes=20), timedelta(hours=3), timedelta(days=1))


class SkewedClock:
    """A clock that runs as another does, and shows another time."""

    def __init__(self, clock: Clock, offset: timedelta) -> None:
        self._clock = clock
        self._offset = offset

    def now(self) -> datetime:
        return self._clock.now() + self._offset

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


class Clocks:
    """Gives each process its clock.

    :param skew: the share of processes whose clock is wrong; none where 0.
    """

    def __init__(self, clock: Clock, seed: int, skew: float) -> None:
        self._clock = clock
        self._rng = random.Random(f"{seed}/clocks")
        self._skew = skew
        # One worker in some seeds, several in others.
        self._always = self._offset() if self._rng.random() < 0.5 else None

    def _offset(self) -> timedelta:
        return self._rng.choice(_OFF) * self._rng.choice((1, -1))

    def of_process(self) -> Clock:
        """Return the clock of one more process."""
        if not self._skew:
            return self._clock
        if self._always is not None:
            return self._by_the_database(self._always)
        return self._by_the_database(self._offset()) if self._rng.random() < self._skew else self._clock

    def _by_the_database(self, offset: timedelta) -> Clock:
        """Return a wrong clock as the jobs use it: put right by the database's, which is the virtual one."""
        return DatabaseClock(SkewedClock(self._clock, offset), self._clock.now)


class OneThread:
    """An executor that does what it is given at once, or when its result is asked for: as the seed has it."""

    rng = random.Random(0)

    def __init__(self, *_: Any, **__: Any) -> None:
        self._waiting: list[Callable[[], None]] = []

    def submit(self, job: Callable[..., Any], *args: Any) -> Future[Any]:
        future = _Lazy(job, args)
        if self.rng.random() < 0.5:
            future.work()
        else:
            self._waiting.append(future.work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            self._waiting.clear()
        for work in self._waiting:
            work()

    def __enter__(self) -> OneThread:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(cancel_futures=kind is not None)


class _Lazy(Future[Any]):
    def __init__(self, job: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().__init__()
        self._job = job
        self._args = args

    def work(self) -> None:
        if self.done():
            return
        try:
            self.set_result(self._job(*self._args))
        except BaseException as error:
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> Any:
        self.work()
        return super().result(timeout)


@contextmanager
def one_thread(seed: int) -> Iterator[None]:
    """Let what the engine does beside itself happen in one order, which the seed decides."""
    OneThread.rng = random.Random(f"{seed}/threads")
    names = ("enerflo_sync.plan.make", "enerflo_sync.reconcile.counts", "enerflo_sync.copies.refresh")
    read_ahead = rebuild.read_ahead
    with (
        mock.patch(f"{names[0]}.ThreadPoolExecutor", OneThread),
        mock.patch(f"{names[1]}.ThreadPoolExecutor", OneThread),
        mock.patch(f"{names[2]}.ThreadPoolExecutor", OneThread),
        mock.patch.object(rebuild, "read_ahead", lambda items, _depth: read_ahead(items, 0)),
    ):
        yield
