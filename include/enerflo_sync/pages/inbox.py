"""The inbox: every entry of an account that waits for a person, the gravest and oldest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import sqlalchemy as sa

from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.inbox_details import Told, tell
from enerflo_sync.pages.waiting import PAGE, EntryKind, InboxEntry, read_waiting
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.warehouse.engine import transaction_time

# Up to the first number, entries are unfolded; up to the second, each has its forms here, else on its own
# page.
_OPEN: Final = 6
_WHOLE: Final = 12

KIND_TEXTS: Final[Mapping[EntryKind, str]] = {
    EntryKind.PLAN: "plan",
    EntryKind.QUARANTINE: "in quarantine",
    EntryKind.HELD: "held back",
    EntryKind.PARKED: "not made",
    EntryKind.LATE: "late",
    EntryKind.QUESTION: "question",
    EntryKind.REFUSED: "refused",
}


@dataclass(frozen=True)
class InboxFilter:
    """Which entries to show.

    :param after: the position after which the page begins; :param first: the position at which it begins.
    """

    kind: EntryKind | None = None
    after: str | None = None
    first: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> InboxFilter:
        """Return the filter in an address.

        :raises ConfigurationError: it names an unknown kind.
        """
        kind = given.get("kind", "").strip()
        if kind and kind not in list(EntryKind):
            raise ConfigurationError(
                "kind is not known.", where="the address", next_step=f"Choose one of {', '.join(EntryKind)}."
            )
        return cls(EntryKind(kind) if kind else None, given.get("after") or None, given.get("first") or None)


@dataclass(frozen=True)
class InboxPage:
    """One page of waiting entries.

    :param counts: the number of entries of each kind; :param told: the details of each entry of the page.
    :param after: the position of the next page; None on the last one.
    """

    account: str
    wanted: InboxFilter
    counts: Mapping[EntryKind, int]
    entries: Sequence[tuple[InboxEntry, Told]]
    after: str | None
    now: datetime

    @property
    def total(self) -> int:
        """Return how many entries the account has, the number in the navigation bar."""
        return sum(self.counts.values())


def read_inbox(
    connection: sa.Connection, config: SyncConfig, account: str, to: Addresses, wanted: InboxFilter
) -> InboxPage:
    """Return one page of what waits for a person, masked.

    :raises ConfigurationError: the filter's position is invalid.
    """
    counts, found = read_waiting(
        connection, account, config, kind=wanted.kind, after=wanted.after, first=wanted.first
    )
    shown, more = found[:PAGE], found[PAGE:]
    told = tell(connection, config, account, to, shown)
    return InboxPage(
        account=account,
        wanted=wanted,
        counts=counts,
        # An entry that was resolved after the list was read has no details any more.
        entries=[(entry, told[entry]) for entry in shown if entry in told],
        after=shown[-1].position if more else None,
        now=transaction_time(connection),
    )


def render_inbox(page: InboxPage, frame: Frame) -> str:
    """Return the page."""
    here = frame.to.of(Place.INBOX, page.account)
    query = {"kind": str(page.wanted.kind)} if page.wanted.kind else {}
    return render_page(
        "inbox.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        here=here,
        kinds=KIND_TEXTS,
        kind_of=_kind_address(here),
        opened=len(page.entries) if len(page.entries) <= _OPEN else int(page.wanted.first is not None),
        whole=_WHOLE,
        entry_of=lambda entry: f"{here}?{urlencode({'first': entry.position})}",
        first=f"{here}?{urlencode(query)}" if query else here,
        next=None if page.after is None else f"{here}?{urlencode({**query, 'after': page.after})}",
    )


def _kind_address(here: str) -> Callable[[EntryKind], str]:
    return lambda kind: f"{here}?{urlencode({'kind': str(kind)})}"
