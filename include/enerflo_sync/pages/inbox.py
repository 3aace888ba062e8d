"""The inbox: everything of an account that a person must settle, the gravest and oldest first."""

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

# So few entries stand open; so many tell all and can be settled on the page, the others on one of their own.
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
    """Which entries are meant.

    :param after: the position after which the page begins; :param first: that with which it does.
    """

    kind: EntryKind | None = None
    after: str | None = None
    first: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> InboxFilter:
        """Return the filter of an address.

        :raises ConfigurationError: it names a kind that is not known.
        """
        kind = given.get("kind", "").strip()
        if kind and kind not in list(EntryKind):
            raise ConfigurationError(
                "kind is not known.", where="the address", next_step=f"Choose one of {', '.join(EntryKind)}."
            )
        return cls(EntryKind(kind) if kind else None, given.get("after") or None, given.get("first") or None)


@dataclass(frozen=True)
class InboxPage:
    """One page of what waits.

    :param counts: how many entries there are of each kind; :param told: what each entry of the page is about.
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
        """Return how many entries the account has: the number beside the inbox in the bar."""
        return sum(self.counts.values())


def read_inbox(
    connection: sa.Connection, config: SyncConfig, account: str, to: Addresses, wanted: InboxFilter
) -> InboxPage:
    """Return one page of what waits for a person, masked.

    :raises ConfigurationError: the filter's position is none.
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
        # What was settled since the list was read has nothing to tell any more.
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
