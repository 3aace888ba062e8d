"""What the receiver has done since its start, in Prometheus' text form."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping

from enerflo_sync.receiver.outcomes import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PREFIX = "enerflo_receiver"


class Metrics:
    """Counts posts. Used from one thread, the server's loop.

    :param accounts: those that are served; each of them shows from the start, with zeros. A post whose
        account or secret is wrong counts under an empty account: nobody can fill the memory with names.
    """

    def __init__(self, accounts: Iterable[str]) -> None:
        self._accounts = tuple(accounts)
        self._received: Counter[tuple[str, Outcome]] = Counter()
        self._bytes: Counter[str] = Counter()
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def add(self, account: str, outcome: Outcome, size: int, seconds: float) -> None:
        """Count one post.

        :param size: bytes of its body, 0 unless it was stored.
        :param seconds: from its headers to its answer.
        """
        self._received[account, outcome] += 1
        self._bytes[account] += size
        self._buckets[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def rendered(self, free_bytes: Mapping[str, int | None]) -> str:
        """Return all series as text.

        :param free_bytes: room in each account's drop; None where it is not known, which gives no series.
        """
        lines = [
            *_head("received_total", "counter", "Posts by account and outcome; account is empty when wrong."),
            *(
                _line("received_total", {"account": account, "outcome": outcome}, count)
                for (account, outcome), count in sorted(self._with_zeros().items())
            ),
            *_head("bytes_total", "counter", "Bytes of stored bodies, as sent."),
            *(_line("bytes_total", {"account": name}, self._bytes[name]) for name in self._accounts),
            *_head("seconds", "histogram", "From a post's headers to its answer."),
            *self._histogram(),
            *_head("drop_free_bytes", "gauge", "Room in the drop's file system."),
            *(
                _line("drop_free_bytes", {"account": name}, free)
                for name, free in free_bytes.items()
                if free is not None
            ),
        ]
        return "\n".join(lines) + "\n"

    def _with_zeros(self) -> dict[tuple[str, Outcome], int]:
        zeros = dict.fromkeys(((name, outcome) for name in self._accounts for outcome in Outcome), 0)
        zeros["", Outcome.UNKNOWN_HOOK] = 0
        return zeros | self._received

    def _histogram(self) -> Iterable[str]:
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._buckets, strict=True):
            total += count
            yield _line("seconds_bucket", {"le": bound}, total)
        yield _line("seconds_sum", {}, round(self._seconds, 6))
        yield _line("seconds_count", {}, total)


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP {_PREFIX}_{name} {what}", f"# TYPE {_PREFIX}_{name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    # Account names are small letters, digits and _, and outcomes are ours: nothing to escape.
    inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{_PREFIX}_{name}{{{inside}}} {value}" if inside else f"{_PREFIX}_{name} {value}"
