"""The frame of a page in Airflow: the navigation bar with its counts, and the token that forms must carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from enerflo_sync.addresses import Addresses, Place

LABELS: Final[Mapping[Place, str]] = {
    Place.OVERVIEW: "Overview",
    Place.INBOX: "Inbox",
    Place.DIFFERENCES: "Differences",
    Place.PLANS: "Plans",
    Place.CHECKS: "Checks",
    Place.FRESHNESS: "Freshness",
    Place.REPORTS: "Reports",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame of one page.

    :param account: the page's account; None on the page of all accounts.
    :param accounts: the accounts that the reader may see.
    :param here: the page's entry in the navigation bar; None if it has none.
    :param waiting: how many items of the account wait for a person; None if they were not counted.
    :param token: the token that a form must carry to be accepted; empty if the reader may only read.
    :param notice: the result of a form that was just sent.
    """

    to: Addresses
    account: str | None = None
    accounts: Sequence[str] = ()
    here: Place | None = None
    waiting: int | None = None
    token: str = ""
    notice: str = ""

    @property
    def may_act(self) -> bool:
        """Return whether the reader may act on items, not only look at them."""
        return bool(self.token)

    @property
    def entries(self) -> Sequence[tuple[Place, str, str]]:
        """Return the bar's entries with their labels and addresses."""
        if self.account is None:
            return ()
        return [(place, label, self.to.of(place, self.account)) for place, label in LABELS.items()]
