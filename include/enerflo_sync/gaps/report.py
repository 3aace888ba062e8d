"""Holes: stretches of time of which something was not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

# Ids of one kind in the evidence of a hole.
SAMPLES = 10


class HoleKind(StrEnum):
    """What was not seen.

    ``records``: lists of Enerflo were not read whole. ``note_edits``: edited and deleted notes were not
    looked for. ``webhooks``: changes that no webhook told. ``unconfirmed``: changes that a webhook told and
    no poll finds. ``unread``: events that arrived and whose records were not read, for they wait or lie in
    quarantine. ``drop``: nobody looked into the drop.
    """

    RECORDS = "records"
    NOTE_EDITS = "note_edits"
    WEBHOOKS = "webhooks"
    UNCONFIRMED = "unconfirmed"
    UNREAD = "unread"
    DROP = "drop"


class Evidence(msgspec.Struct, frozen=True):
    """By what a hole is known: ids in ``sync.runs``, ``sync.webhook_events``, ``sync.witnesses``.

    Samples of at most :data:`SAMPLES` each, the latest.

    :param watermarks: up to when each list was read whole.
    """

    runs: Sequence[str] = ()
    events: Sequence[str] = ()
    records: Sequence[str] = ()
    watermarks: Mapping[str, datetime] = {}


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of time that was not seen whole.

    :param start: the last moment before it of which something is known to be seen.
    :param end: the first moment after it; None while it goes on.
    :param not_seen: what was not seen, and how many where that is known.
    :param why: how it is known, in a sentence.
    :param is_open: nobody has looked at all of it since.
    :param closed_by: the run that did, where it is known; ``closed_at`` is its beginning.
    :param closes: the command that closes it.
    :param backfill: the backfill that reads again what was created in it, where anything was.
    :param remark: what no command brings back.
    """

    kind: HoleKind
    start: datetime = msgspec.field(name="from")
    end: datetime | None = msgspec.field(name="to")
    not_seen: Mapping[str, int | None]
    why: str
    evidence: Evidence
    is_open: bool = msgspec.field(name="open")
    closed_by: str | None = None
    closed_at: datetime | None = None
    closes: str
    backfill: str | None = None
    remark: str | None = None


class GapReport(msgspec.Struct, frozen=True):
    """The holes of one account, the latest first.

    :param since: closed holes that ended before are not told.
    :param polled: whether a poll ever ran; without, there is nothing to have holes in.
    :param silent_since: when the last webhook arrived, where changes after it were told by none.
    """

    account: str
    as_of: datetime
    since: datetime
    polled: bool
    silent_since: datetime | None
    holes: Sequence[Hole]

    @property
    def open(self) -> int:
        """Return how many holes are open."""
        return sum(hole.is_open for hole in self.holes)


def account_option(account: str) -> str:
    """Return how a command names an account; nothing for the default one."""
    return "" if account == "default" else f" --account {account}"


def backfill_command(account: str, start: datetime, end: datetime) -> str:
    """Return the command that reads what was created from ``start`` to ``end``, whole days in UTC."""
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in (start, end))
    return f"enerflo-sync backfill --from {first} --to {last}{account_option(account)}"
