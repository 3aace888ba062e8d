"""What goes wrong between the company and the reader of its webhooks, and how each copy of one ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LONGEST_HOLD = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Mess:
    """What goes wrong between the company and the reader; the default is a calm delivery of everything.

    :param loss: share of the events that never arrive, 0 to 1.
    :param duplicate: share of the events that arrive two or three times. Above 0, ``customer.created`` and
        ``update_appointment`` always do, as in production.
    :param delay: share of the copies that arrive late, by 1 second up to ``longest_delay``.
    :param reorder: share of the events that the next one overtakes; each waits ``LONGEST_HOLD`` at most.
    :raises ValueError: when a share is not within 0 and 1, or the delay is shorter than a second.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    longest_delay: timedelta = timedelta(minutes=10)
    reorder: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "delay", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name)}")
        if self.longest_delay < timedelta(seconds=1):
            raise ValueError(f"longest_delay is 1 second or more, got {self.longest_delay}")


class Fate(StrEnum):
    """How one copy of an event ended."""

    SENT = "sent"
    LOST = "lost"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One copy of one event, and how it ended.

    :param event: the name in the body, such as ``update_install`` or ``deal.projectSubmitted``.
    :param ids: the v1 ids and the deal's uuid that the event concerns, by the names of ``Change``.
    :param happened_at: the moment of the change.
    :param due_at: when it was to arrive.
    :param sent_at: when the target took it; None where it was lost or failed.
    :param copy: 1 for the first copy of ``copies``.
    :param digest: SHA-256 of the body, in hexadecimal; equal for copies.
    :param place: what the target calls it: a file name, an HTTP status.
    """

    event: str
    ids: dict[str, int | str]
    happened_at: datetime
    due_at: datetime
    sent_at: datetime | None
    fate: Fate
    copy: int
    copies: int
    late: bool
    reordered: bool
    size: int
    digest: str
    place: str = ""
