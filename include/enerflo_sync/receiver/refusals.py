"""Notes in the drops of what the receiver refused, for the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field

from enerflo_sync.clock import Clock
from enerflo_sync.drop.refusals import NAME, RefusalNote, Refused, as_bytes
from enerflo_sync.drop.writer import DropWriter
from enerflo_sync.errors import RetriableError
from enerflo_sync.receiver.outcomes import PostOutcome

# Strangers must not make the receiver write with each post.
EVERY_SECONDS = 60.0


@dataclass
class _Account:
    """What became of one account's posts since the start; ``written_at`` is by the monotonic clock."""

    refused: dict[str, Refused] = field(default_factory=dict)
    took_any: bool = False
    written_at: float | None = None
    is_new: bool = False


class Refusals:
    """Counts refused posts by account. Used from the server's event loop; files are written by a thread.

    What the receiver or its drop could not do (5xx) is no refusal: the sender sends such a post again.
    A post counts for the account that its path names, whatever its secret is. One that names none counts only
    where the receiver serves a single account: nobody can say whose it was to be.

    :param drops: the drops by account; a note that a drop does not take is written with a later post.
    """

    def __init__(self, drops: Mapping[str, DropWriter], clock: Clock) -> None:
        self._drops = drops
        self._clock = clock
        self._since = clock.now()
        self._accounts = {name: _Account() for name in drops}
        self._only = next(iter(drops)) if len(drops) == 1 else ""

    def add(self, account: str, outcome: PostOutcome, threads: Executor) -> None:
        """Count one post, and let its account's note be written, at most once a minute.

        :param account: as the path has it; empty where the path is no hook.
        """
        name = account if account in self._accounts else self._only
        known = self._accounts.get(name)
        if known is None or outcome is PostOutcome.ABORTED or outcome.status >= 500:
            return
        if outcome is PostOutcome.STORED:
            # Until then the note says that the receiver takes nothing.
            known.is_new = known.is_new or (bool(known.refused) and not known.took_any)
            known.took_any = True
        else:
            before = known.refused.get(outcome)
            known.refused[outcome] = Refused(before.posts + 1 if before else 1, self._clock.now())
            known.is_new = True
        now = self._clock.monotonic()
        if known.is_new and (known.written_at is None or now - known.written_at >= EVERY_SECONDS):
            known.is_new, known.written_at = False, now
            note = RefusalNote(self._since, known.took_any, dict(known.refused))
            # While the server stops, no thread takes more work.
            with suppress(RuntimeError):
                threads.submit(_write, self._drops[name], note)


def _write(drop: DropWriter, note: RefusalNote) -> None:
    with suppress(RetriableError):
        drop.put(NAME, as_bytes(note))
