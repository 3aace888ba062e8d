"""What must not be left half done is ended as a whole, and the process ends after it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from threading import Thread

import pytest

from enerflo_sync.interruption import ENDINGS, uninterrupted


@pytest.fixture(autouse=True)
def as_by_ctrl_c() -> Iterator[None]:
    before = {way: signal.signal(way, signal.default_int_handler) for way in ENDINGS}
    yield
    for way, how in before.items():
        signal.signal(way, how)


@pytest.mark.parametrize("way", ENDINGS)
def test_a_signal_waits_for_the_end_of_the_block(way: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(way)
        done.append("within")
    assert done == ["within"]
    assert signal.getsignal(way) is signal.default_int_handler


def test_nothing_happens_where_no_signal_came() -> None:
    with uninterrupted():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler


def test_what_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with uninterrupted():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_another_thread_leaves_the_handlers_alone() -> None:
    seen = []

    def work() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
