"""Holes: periods in which something was not observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from enerflo_sync.gaps.unheard import Unheard

# Maximum ids per kind in a hole's evidence.
SAMPLES = 10


class HoleKind(StrEnum):
    """What was not observed.

    ``records``: lists of Enerflo were not read completely. ``note_edits``: edited and deleted notes were not
    read. ``webhooks``: changes without a webhook. ``unconfirmed``: changes with a webhook that no poll finds.
    ``unread``: events whose records were not read, because they wait or are quarantined. ``drop``: the drop
    was not read.
    """

    RECORDS = "records"
    NOTE_EDITS = "note_edits"
    WEBHOOKS = "webhooks"
    UNCONFIRMED = "unconfirmed"
    UNREAD = "unread"
    DROP = "drop"


class Evidence(msgspec.Struct, frozen=True):
    """The evidence of a hole: ids in ``sync.runs``, ``sync.webhook_events``, ``sync.witnesses``.

    Each list has at most :data:`SAMPLES` ids, the latest.

    :param watermarks: up to when each list was read completely.
    """

    runs: Sequence[str] = ()
    events: Sequence[str] = ()
    records: Sequence[str] = ()
    watermarks: Mapping[str, datetime] = {}


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """One period that was not observed completely.

    :param start: the last known observation before it.
    :param end: the first observation after it; None while it lasts.
    :param not_seen: what was not observed, with its number if known.
    :param why: the evidence, in a sentence.
    :param is_open: the period has not been read completely since.
    :param closed_by: the run that read it, if known; ``closed_at`` is that run's start.
    :param closes: the command that closes it.
    :param backfill: the backfill that reads records created in it, if there may be any.
    :param remark: what no command can recover.
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

    :param since: closed holes that ended earlier are omitted.
    :param polled: whether a poll ever ran; without one there are no holes.
    :param silent_since: when the last webhook arrived, if later changes had none.
    :param unheard: that webhooks are awaited and none ever arrived, although polls found changes.
    :param refused: records that were read, and that the mirror could not take: they stand in quarantine.
    """

    account: str
    as_of: datetime
    since: datetime
    polled: bool
    silent_since: datetime | None
    holes: Sequence[Hole]
    unheard: Unheard | None = None
    refused: int = 0

    @property
    def open(self) -> int:
        """Return the number of open holes."""
        return sum(hole.is_open for hole in self.holes)

    @property
    def silence(self) -> str:
        """Return since when no webhook arrives although changes were found; empty if that is not so."""
        if self.silent_since is not None:
            return f"The last webhook came at {_utc(self.silent_since)}, and later changes had none."
        if self.unheard is None:
            return ""
        since, found = _utc(self.unheard.since), _number_of("change", self.unheard.changes)
        files = _number_of("file", self.unheard.files)
        aside = f" In quarantine: {files} of the drop." if self.unheard.files else ""
        return f"The drop is read since {since}, and no webhook ever came; polls found {found} since.{aside}"

    @property
    def _refused_words(self) -> str:
        """Return what the mirror lacks although it was seen; empty if it lacks nothing."""
        if not self.refused:
            return ""
        one = self.refused == 1
        was, them = ("was seen stands", "it") if one else ("were seen stand", "them")
        return (
            f" {_number_of('record', self.refused)} that {was} in quarantine, and the mirror does not have"
            f" {them} as Enerflo says: enerflo-sync quarantine list{account_option(self.account)}."
        )

    @property
    def sentence(self) -> str:
        """Return the report's summary in a sentence."""
        if not self.polled and not self.open:
            return "No poll ever ran for this account: nothing was read yet."
        if not self.open:
            closed, days = len(self.holes), (self.as_of - self.since).days
            are = "gap is" if closed == 1 else "gaps are"
            past = f" {closed:,} {are} closed of the last {days} days." if closed else ""
            return f"Nothing is open: all that was due was seen.{self._refused_words}{past}"
        return f"{self.open:,} {'gap is' if self.open == 1 else 'gaps are'} open."


def account_option(account: str) -> str:
    """Return a command's option for an account; empty for the default account."""
    return "" if account == "default" else f" --account {account}"


def backfill_command(account: str, start: datetime, end: datetime) -> str:
    """Return the command that reads records created from ``start`` to ``end``, in whole UTC days."""
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in (start, end))
    return f"enerflo-sync backfill --from {first} --to {last}{account_option(account)}"


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _number_of(noun: str, number: int) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
